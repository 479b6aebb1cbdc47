"""Databases that were dumped, restored, replicated and failed over, by PostgreSQL's own programs: right, or refused."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from bson import decode_all
from estate import SERVERS, Estate
from house import House
from pymongo import MongoClient
from replication import execute, program

from orchestrator import embedded
from orchestrator.embedded import Server


@pytest.fixture
def dumped(pg_house: House, tmp_path: Path) -> tuple[House, Path]:
    """A database that was dumped at version 2 and is at version 3 now."""
    house, dump = pg_house, tmp_path / "dump"
    house.orch("apply", "--only", house.id, "--to", "2")
    program(house.estate.servers["postgres"], "pg_dump", "-Fc", "-f", dump, database=house.estate.prefix + "db")
    house.orch("apply", "--only", house.id, "--to", "3")
    return house, dump


def test_a_whole_restore_in_place_needs_no_command(dumped: tuple[House, Path]) -> None:
    house, dump = dumped
    server, name = house.estate.servers["postgres"], house.estate.prefix + "db"
    house.estate.sql("db", "DROP TABLE t3")  # --clean drops what the dump has, and leaves what came later
    program(server, "pg_restore", "--clean", "--if-exists", "-d", name, dump)
    assert (house.status()["applied"], house.status()["problems"]) == ([1, 2], [])
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    program(server, "dropdb", name)
    program(server, "createdb", name)
    program(server, "pg_restore", "-d", name, dump)
    assert (house.status()["applied"], house.status()["problems"]) == ([1, 2], [])
    house.orch("apply")
    assert (house.tables(), house.version_row()) == ([1, 2, 3, 4], (4, False))


def test_a_restore_of_the_data_alone_leaves_two_rows_and_is_refused(dumped: tuple[House, Path]) -> None:
    house, dump = dumped
    house.estate.sql("db", "TRUNCATE t1")  # the lost table
    program(
        house.estate.servers["postgres"],
        *("pg_restore", "--data-only", "-d", house.estate.prefix + "db", dump),
        check=False,  # the rows that are there already are refused, table by table
    )
    assert house.estate.sql("db", "SELECT id FROM t1") == [(1,)]
    assert {row[0] for row in house.estate.version_row("db")} == {2, 3}
    before = house.schema_snapshot()
    assert "--keep-version" in house.orch("apply", code=5).output
    assert house.schema_snapshot() == before
    house.orch("repair", house.id, "--keep-version", "3", "--reason", "t1 was restored")
    house.orch("apply")
    assert [(r["version"], r["origin"]) for r in house.attempts()].count((3, "applied")) == 1, "nothing ran twice"
    assert house.version_row() == (4, False)


def test_one_table_alone_is_restored_without_a_note(dumped: tuple[House, Path]) -> None:
    house, dump = dumped
    house.estate.sql("db", "TRUNCATE t1")
    name = house.estate.prefix + "db"
    program(house.estate.servers["postgres"], "pg_restore", "--data-only", "-t", "t1", "-d", name, dump)
    assert not house.status()["problems"]
    house.orch("apply")
    assert house.version_row() == (4, False)


def test_a_copy_of_the_schema_alone_is_not_a_new_database(dumped: tuple[House, Path]) -> None:
    house, dump = dumped
    server, copy = house.estate.servers["postgres"], house.estate.prefix + "copy"
    program(server, "createdb", copy)
    program(server, "pg_restore", "--schema-only", "-d", copy, dump)
    house.estate.env["ORCH_DSN_POSTGRES_DB"] = server.dsn(copy)
    refused = house.orch("apply", code=5).output
    assert "its history is there and holds no rows" in refused
    assert f"orch baseline {house.id} --version" in refused
    house.orch("baseline", house.id, "--version", "2")
    house.orch("apply")
    assert house.estate.sql("copy", "SELECT version, dirty FROM schema_migrations") == [(4, False)]
    house.estate.env.pop("ORCH_DSN_POSTGRES_DB")


def test_a_dump_under_another_name_is_noticed_and_declared_once(dumped: tuple[House, Path]) -> None:
    house, dump = dumped
    server, copy = house.estate.servers["postgres"], house.estate.prefix + "copy"
    program(server, "createdb", copy)
    program(server, "pg_restore", "-d", copy, dump)
    house.estate.env["ORCH_DSN_POSTGRES_DB"] = server.dsn(copy)
    told = house.orch("apply", code=5).output
    assert f"were written in database '{house.estate.prefix}db'" in told
    house.orch("repair", "--here")
    house.orch("apply")
    house.estate.env.pop("ORCH_DSN_POSTGRES_DB")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4], "the first one goes on for itself"


@pytest.mark.timing
def test_a_restore_in_the_middle_of_a_run_is_noticed(dumped: tuple[House, Path]) -> None:
    """The records are compared before each COMMIT: a file does not commit on top of a restored database."""
    house, dump = dumped
    server, name = house.estate.servers["postgres"], house.estate.prefix + "db"
    house.estate.write(house.id, {"000004_t4.up.sql": "SELECT pg_sleep(3);\nCREATE TABLE t4 (id int PRIMARY KEY);\n"})
    (house.directory / "000004_t4.down.sql").write_text("DROP TABLE t4;\n")
    run = house.estate.start("apply")
    deadline = time.monotonic() + 60
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(3)%'"
    while house.estate.sql("db", query)[0][0] < 2:  # this question itself, and the file
        assert time.monotonic() < deadline
        time.sleep(0.05)
    house.estate.sql("db", "TRUNCATE orch_history, schema_migrations")
    program(server, "pg_restore", "--data-only", "-t", "orch_history", "-t", "schema_migrations", "-d", name, dump)
    out, err = run.communicate(timeout=60)
    assert run.returncode in (1, 5), out + err
    assert 4 not in house.tables()
    assert house.status()["version"] == 2, err


# ---------------------------------------------------------------- other servers


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A cluster of its own that publishes."""
    for name, value in SERVERS["postgres-wheel"][1].items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "publisher"
    server = embedded.up(root, ["postgres"])["postgres"]
    execute(server.dsn("postgres"), "ALTER SYSTEM SET wal_level = logical")
    embedded.down(root)
    yield embedded.up(root, ["postgres"])["postgres"]
    embedded.remove(root)


@pytest.mark.timing
def test_a_logical_replica_does_not_claim_what_it_never_ran(
    publisher: Server, postgres: Server, tmp_path: Path
) -> None:
    there, here = Estate(tmp_path / "there", {"postgres": publisher}), Estate(tmp_path / "here", {"postgres": postgres})
    files: dict[str, str | bytes] = {"1_a.up.sql": "CREATE TABLE a (id int PRIMARY KEY);\nINSERT INTO a VALUES (1);"}
    for estate in (there, here):
        estate.root.mkdir()
        estate.add("postgres", "a", files)
    here.prefix = there.prefix
    here.manifest("  - {name: a, server: postgres}\n")
    name = there.prefix + "a"
    there.orch("apply")
    execute(publisher.dsn(name), "CREATE PUBLICATION everything FOR ALL TABLES")
    program(postgres, "createdb", name)
    program(publisher, "pg_dump", "-s", "-f", tmp_path / "schema.sql", database=name)
    program(postgres, "psql", "-f", tmp_path / "schema.sql", database=name)
    conninfo = f"host=127.0.0.1 port={publisher.port} dbname={name} user={publisher.user} password={publisher.password}"
    try:
        execute(postgres.dsn(name), f"CREATE SUBSCRIPTION s CONNECTION '{conninfo}' PUBLICATION everything")
        for estate in (there, here):
            estate.write("postgres-a", {"2_b.up.sql": "CREATE TABLE b (id int PRIMARY KEY);"})
        there.orch("apply")
        deadline = time.monotonic() + 60
        while here.sql("a", "SELECT max(version) FROM schema_migrations") != [(2,)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for command in (["status"], ["plan"], ["apply"], ["wait", "--timeout", "5"]):
            told = here.orch(*command, code=5).text
            assert "were written in database" in told, command
            assert "on server" in told, command
        assert here.tables("a") == {"a"}, "version 2 was recorded there, and not run here"

        # As docs/operations.md says: publish the tables of the application, and migrate the subscriber by itself.
        execute(postgres.dsn(name), "DROP SUBSCRIPTION s", "DROP TABLE orch_history, schema_migrations")
        execute(publisher.dsn(name), "DROP PUBLICATION everything", "CREATE PUBLICATION p FOR TABLE a")
        execute(
            postgres.dsn(name),
            f"CREATE SUBSCRIPTION s CONNECTION '{conninfo}' PUBLICATION p WITH (copy_data = false)",
        )
        here.orch("baseline", "a", "--version", "1")
        here.orch("apply")
        assert here.tables("a") == {"a", "b"}
        assert "Nothing to do" in here.orch("apply").text
    finally:
        execute(postgres.dsn(name), "DROP SUBSCRIPTION IF EXISTS s")
        here.drop()


@pytest.mark.timing
def test_a_failover_in_the_middle_of_an_apply(tmp_path: Path, pair: tuple[Server, int]) -> None:
    """The standby is promoted while a file runs: the run or the next one goes on there, and needs no --here."""
    primary, port = pair
    estate = Estate(tmp_path, {"postgres": primary})
    estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();", "1_t.down.sql": "DROP TABLE t;"})
    estate.orch("apply")
    path = tmp_path / "databases.yaml"
    alone = path.read_text()
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{port}/"
    both = alone.replace(f"127.0.0.1:{primary.port}/", hosts)
    mark = "&" if "{database}?" in alone else "?"
    end = alone[alone.index("{database}") :].partition('"')[0]
    both = both.replace(end, f"{end}{mark}target_session_attrs=read-write", 1)
    assert both != alone
    path.write_text(both)
    slow = "-- orch: no-transaction\nCREATE TABLE u ();\nSELECT pg_sleep(4);\nCREATE TABLE v ();\n"
    estate.write("postgres-a", {"2_u.up.sql": slow, "3_w.up.sql": "CREATE TABLE w ();"})
    run = estate.start("apply", "--wait", "30")
    deadline = time.monotonic() + 60
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(4)%' AND pid <> pg_backend_pid()"
    while estate.sql("a", running) != [(1,)]:
        assert time.monotonic() < deadline and run.poll() is None, run.communicate()
        time.sleep(0.05)
    standby = primary.dsn(estate.prefix + "a").replace(str(primary.port), str(port))

    def there(query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(standby, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    while not there("SELECT to_regclass('u') IS NOT NULL")[0][0]:  # asynchronous: what it lacks would be pending again
        assert time.monotonic() < deadline, (run.communicate(), there("SELECT * FROM pg_stat_wal_receiver"))
        time.sleep(0.05)
    os.kill(primary.pid, signal.SIGQUIT)  # an immediate shutdown
    assert there("SELECT pg_promote()") == [(True,)]
    out, err = run.communicate(timeout=60)
    if run.returncode:
        estate.orch("apply", "--wait", "30")  # what the run could not resolve by itself the next one does
    assert there("SELECT version, dirty FROM schema_migrations") == [(3, False)], out + err
    found = there("SELECT to_regclass('u') IS NOT NULL, to_regclass('v') IS NOT NULL, to_regclass('w') IS NOT NULL")
    assert found == [(True, True, True)]
    assert not estate.status("postgres-a")["problems"], "no --here after a failover"


# ---------------------------------------------------------------- MongoDB


def copy_all(source: MongoClient[Any], target: MongoClient[Any], name: str) -> None:
    """Insert the raw documents and the indexes of a database into another server, as mongodump and mongorestore do."""
    for collection in source[name].list_collection_names():
        target[name].create_collection(collection)
        if documents := list(source[name][collection].find_raw_batches()):
            found = [one for batch in documents for one in decode_all(batch)]
            target[name][collection].insert_many(found)
        for index in source[name][collection].list_indexes():
            keys = {key: index[key] for key in index if key not in ("v", "key", "ns")}
            target[name][collection].create_index(list(index["key"].items()), **keys)


def test_a_dump_of_mongodb_loaded_into_another_server_is_noticed(mongo_house: House, standalone: Server) -> None:
    house = mongo_house
    house.orch("apply", "--only", house.id, "--to", "3")
    name = house.estate.prefix + "db"
    other: MongoClient[Any] = MongoClient(standalone.dsn("admin"), tz_aware=True)
    copy_all(house.estate.client(), other, name)
    house.estate.env["ORCH_DSN_MONGO_DB"] = standalone.dsn(name)
    try:
        for command in (["status"], ["plan"], ["apply"], ["wait", "--timeout", "5"]):
            told = house.orch(*command, code=5).output
            assert "on server" in told, command
        assert sorted(n for n in other[name].list_collection_names() if n.startswith("t")) == ["t1", "t2", "t3"]
        house.orch("repair", "--here", "--reason", "moved")
        house.orch("apply")
        assert not house.status()["problems"]
        assert other[name]["schema_migrations"].find_one()["version"] == 4  # type: ignore[index]
    finally:
        house.estate.env.pop("ORCH_DSN_MONGO_DB")
        other.drop_database(name)
        other.close()
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4], "the first one goes on for itself"
