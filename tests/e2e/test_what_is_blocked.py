"""A failure stops only what it must, and says why: what has nothing to do is unchanged, and a refused plan tells the reason."""

from __future__ import annotations

import json

from estate import Estate

UP, DOWN = "CREATE TABLE t (id int);", "DROP TABLE t;"


def test_a_rollback_of_several_of_which_one_cannot_be_planned_says_why(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "user", {"1_t.up.sql": UP})  # no down file
    pg_estate.add("postgres", "order", {"1_t.up.sql": UP, "1_t.down.sql": DOWN}, depends_on=["user"])
    pg_estate.add("postgres", "bill", {"1_t.up.sql": UP}, depends_on=["order", "user"])
    pg_estate.orch("apply")
    for names in (["user", "order", "bill"], ["bill", "order"]):
        arguments = [*names, *(["--ignore-dependents"] if "user" not in names else [])]
        told = pg_estate.orch("rollback", *arguments, "--to", "0", "--yes", code=5).stderr
        assert "no down file" in told
        assert "unexpected" not in told
        assert all(pg_estate.version_row(name) == [(1, False)] for name in ("user", "order", "bill"))


def test_a_database_with_nothing_to_do_is_never_blocked(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": UP})
    pg_estate.add("postgres", "b", {"1_t.up.sql": UP}, depends_on=["a"])
    pg_estate.add("postgres", "c", {"1_t.up.sql": UP}, depends_on=["b"])
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"2_x.up.sql": "nonsense;"})
    pg_estate.write("postgres-c", {"2_x.up.sql": "CREATE TABLE t2 ();"})
    done = pg_estate.orch("apply", "--output", "jsonl", code=1)
    events = [
        line
        for line in map(json.loads, done.stdout.splitlines())
        if line["event"] in ("DatabaseBlocked", "RunFinished")
    ]
    assert [(e["database"], e["by"]) for e in events[:-1]] == [("postgres-c", ["postgres-a"])]
    assert events[-1]["blocked"] == ["postgres-c"]
    assert "postgres-b" in events[-1]["succeeded"]
    assert "blocked" not in pg_estate.orch("apply", "--exclude", "c", code=1).text
