"""`orch apply` beside other runs of orch and beside golang-migrate."""

from __future__ import annotations

import zlib

import psycopg
import pytest
from estate import Estate
from processes import end

ONE = {"000001_one.up.sql": "CREATE TABLE one (id int);", "000001_one.down.sql": "DROP TABLE one;"}
TWO = {"000002_two.up.sql": "CREATE TABLE two (id int);", "000002_two.down.sql": "DROP TABLE two;"}


# ---------------------------------------------------------------- with others


@pytest.mark.timing
def test_four_at_once_all_succeed_and_each_migration_runs_once(estate: Estate) -> None:
    once = {f"{n:06d}_x.up.sql": f"CREATE TABLE t{n} (id int); SELECT pg_sleep(0.1);" for n in range(1, 4)}
    estate.add("postgres", "a", dict(once))
    estate.add("postgres", "b", dict(once), depends_on=["a"])
    estate.add("mongo", "m", {f"{n}_x.up.js": f'[{{"create": "c{n}"}}]' for n in range(1, 4)})
    processes = [estate.start("apply") for _ in range(4)]
    results = [end(process, 60) for process in processes]
    assert [code for code, _, _ in results] == [0, 0, 0, 0], results
    for name in "ab":
        rows = estate.sql(name, "SELECT version, attempt, done FROM orch_history ORDER BY 1, 2")
        assert rows == [(1, 1, True), (2, 1, True), (3, 1, True)]
    rows = [(row["version"], row["attempt"]) for row in estate.mongo("m")["orch_history"].find().sort("version")]
    assert rows == [(1, 1), (2, 1), (3, 1)]


def test_golang_migrates_lock_is_respected(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE | TWO)
    pg_estate.orch("apply", "--only", "a", "--to", "1")
    name = f"public\0schema_migrations\0/{pg_estate.prefix}a".encode()
    key = (zlib.crc32(name) * 1486364155) % 2**32
    with psycopg.connect(pg_estate.servers["postgres"].dsn(pg_estate.prefix + "a"), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (key,))
        refused = pg_estate.orch("apply", "--lock-timeout", "0.5", code=6)
        assert "postgres-a is locked by" in refused.stderr
        assert f"backend {other.info.backend_pid}" in refused.stderr
        pg_estate.orch("status")  # a query needs no lock
        with pg_estate.start("apply", "--lock-timeout", "30") as process:
            assert any("waiting for the lock" in line for line in iter(process.stderr or ()))
            other.execute("SELECT pg_advisory_unlock(%s)", (key,))
            assert end(process)[0] == 0
    assert pg_estate.tables("a") == {"one", "two"}


def test_golang_migrates_lock_document_is_respected(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]'})
    locks = mongo_estate.mongo("m")["migrate_advisory_lock"]
    locks.create_index([("locking_key", -1)], unique=True, name="lock_unique_key")
    locks.insert_one({"locking_key": 0, "pid": 4711, "hostname": "builder", "created_at": None})
    refused = mongo_estate.orch("apply", "--lock-timeout", "0.5", code=6)
    assert "pid 4711 on builder" in refused.stderr
    assert "orch unlock mongo-m" in refused.stderr
    assert locks.count_documents({}) == 1
    with mongo_estate.start("apply", "--lock-timeout", "30") as process:
        assert any("waiting for the lock" in line for line in iter(process.stderr or ()))
        locks.delete_one({"locking_key": 0})
        assert end(process)[0] == 0
    assert "c" in mongo_estate.mongo("m").list_collection_names()
    assert locks.count_documents({}) == 0


def test_what_golang_migrate_did_is_adopted(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE | TWO)
    pg_estate.orch("apply", "--to", "1", "--only", "a")
    pg_estate.sql("a", "CREATE TABLE two (id int)")
    pg_estate.sql("a", "UPDATE schema_migrations SET version = 2")
    pg_estate.write("postgres-a", {"000003_three.up.sql": "CREATE TABLE three (id int);"})
    assert pg_estate.status("postgres-a")["applied"] == [1, 2]
    result = pg_estate.orch("apply")
    assert "adopted what golang-migrate applied: 2" in result.stderr
    assert pg_estate.tables("a") == {"one", "two", "three"}
    pg_estate.sql("a", "DROP TABLE three")
    pg_estate.sql("a", "UPDATE schema_migrations SET version = 2")
    result = pg_estate.orch("apply")
    assert "rolled back: 3" in result.stderr
    assert pg_estate.tables("a") == {"one", "two", "three"}
    assert pg_estate.version_row("a") == [(3, False)]


def test_a_dropped_version_table_is_written_again(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.orch("apply")
    pg_estate.sql("a", "DROP TABLE schema_migrations")
    pg_estate.orch("apply")
    assert pg_estate.version_row("a") == [(1, False)]
    assert "Nothing to do" in pg_estate.orch("apply").stderr


def test_an_edited_file_is_a_conflict_for_its_database_only(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.add("postgres", "b", ONE)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"000001_one.up.sql": "CREATE TABLE one (id bigint);", **TWO})
    pg_estate.write("postgres-b", TWO)
    result = pg_estate.orch("apply", code=5)
    assert "000001_one.up.sql was edited after it was applied" in result.stderr
    assert pg_estate.tables("a") == {"one"}
    assert pg_estate.tables("b") == {"one", "two"}


def test_a_late_file_is_not_skipped_silently(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", TWO)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", ONE)
    assert "pending below the current version 2: 1 ('one')" in pg_estate.orch("apply", code=5).stderr
    path = pg_estate.root / "databases.yaml"
    path.write_text(path.read_text().replace("version: 1\n", "version: 1\ndefaults: {out_of_order: apply}\n"))
    pg_estate.orch("apply")
    assert pg_estate.tables("a") == {"one", "two"}
    assert pg_estate.version_row("a") == [(2, False)]
