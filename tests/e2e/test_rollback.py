"""`orch rollback`: how far, in which order, and what is refused."""

from __future__ import annotations

import json

import pytest
from estate import Estate

ONE = {"000001_one.up.sql": "CREATE TABLE one (id int);", "000001_one.down.sql": "DROP TABLE one;"}
TWO = {"000002_two.up.sql": "CREATE TABLE two (id int);", "000002_two.down.sql": "DROP TABLE two;"}


# ---------------------------------------------------------------- rollback


def test_rollback_takes_back_exactly_as_many(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE | TWO)
    pg_estate.orch("apply")
    assert "--yes" in pg_estate.orch("rollback", "a", "--steps", "1", code=2).stderr
    pg_estate.orch("rollback", "a", "--yes", code=2)
    assert "2 applied" in pg_estate.orch("rollback", "a", "--steps", "3", "--yes", code=2).stderr
    assert pg_estate.tables("a") == {"one", "two"}
    pg_estate.orch("rollback", "a", "--steps", "1", "--yes")
    assert pg_estate.tables("a") == {"one"}
    assert pg_estate.version_row("a") == [(1, False)]
    pg_estate.orch("rollback", "a", "--to", "0", "--yes")
    assert pg_estate.tables("a") == set()
    assert pg_estate.version_row("a") == [], "golang-migrate leaves the table empty after the last down"
    assert pg_estate.status("postgres-a")["pending"] == [1, 2]
    pg_estate.orch("apply")
    assert pg_estate.tables("a") == {"one", "two"}
    pg_estate.orch("rollback", "a", "--to", "1", "--yes")
    assert pg_estate.tables("a") == {"one"}
    assert "Nothing" in pg_estate.orch("rollback", "a", "--to", "1", "--yes").stderr
    pg_estate.orch("rollback", "a", "--to", "2", "--yes", code=2)


@pytest.mark.timing
def test_several_go_down_in_order_also_past_one_that_is_not_named(chain: Estate) -> None:
    chain.orch("apply")
    chain.orch("rollback", "b", "--to", "0", "--yes", "--ignore-dependents")
    slow = "SELECT pg_sleep(0.5); DROP TABLE one;"
    chain.write("postgres-c", {"000001_one.down.sql": slow})
    lines = chain.orch("rollback", "a", "c", "--to", "0", "--yes", "--output", "jsonl").stdout.splitlines()
    events = [(event["event"], event.get("database")) for event in map(json.loads, lines[1:])]
    assert events.index(("DatabaseFinished", "postgres-c")) < events.index(("DatabaseStarted", "postgres-a"))


def test_the_last_down_of_mongo(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]', "1_c.down.js": '[{"drop": "c"}]'})
    mongo_estate.orch("apply")
    mongo_estate.orch("rollback", "m", "--steps", "1", "--yes")
    assert mongo_estate.mongo("m")["schema_migrations"].find_one({}, {"_id": 0}) == {"version": -1, "dirty": False}
    assert mongo_estate.status("mongo-m")["version"] is None
    mongo_estate.orch("apply")
    assert "c" in mongo_estate.mongo("m").list_collection_names()


def test_a_missing_down_file_is_refused_unless_told(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {**ONE, "2_x.up.sql": "CREATE TABLE x (id int);"})
    pg_estate.orch("apply")
    result = pg_estate.orch("rollback", "a", "--to", "0", "--yes", code=5)
    assert "version 2" in result.stderr
    assert "no down file" in result.stderr
    assert pg_estate.tables("a") == {"one", "x"}, "not even the others were taken back"
    pg_estate.orch("rollback", "a", "--steps", "1", "--yes", "--allow-missing-down")
    assert pg_estate.version_row("a") == [(1, False)]
    assert pg_estate.tables("a") == {"one", "x"}


def test_a_failing_down_leaves_no_trace(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {**ONE, "000001_one.down.sql": "DROP TABLE one;\nDROP TABLE nowhere;"})
    pg_estate.orch("apply")
    assert "000001_one.down.sql:2:1" in pg_estate.orch("rollback", "a", "--steps", "1", "--yes", code=1).stderr
    assert pg_estate.tables("a") == {"one"}
    assert pg_estate.version_row("a") == [(1, False)]
