"""Records say in which database they were written: one that was copied or restored elsewhere is noticed and explained."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from estate import Estate, start
from house import House

from orchestrator.embedded import Server


def maintenance(house: House, *statements: str) -> None:
    with psycopg.connect(house.estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def copy_collections(house: House, target: str) -> None:
    """Copy every document of the database, as mongodump and mongorestore do."""
    client = house.estate.client()
    for name in house.estate.mongo("db").list_collection_names():
        if documents := list(house.estate.mongo("db")[name].find()):
            client[target][name].insert_many(documents)


@pytest.fixture
def copied(house: House) -> Iterator[House]:
    """A house whose manifest leads to a copy of its database under another name."""
    house.orch("apply", "--only", house.id, "--to", "3")
    name, copy = house.estate.prefix + "db", house.estate.prefix + "copy"
    if house.engine == "postgres":
        maintenance(house, f'CREATE DATABASE "{copy}" TEMPLATE "{name}"')
        house.estate.env["ORCH_DSN_POSTGRES_DB"] = house.estate.servers["postgres"].dsn(copy)
    else:
        copy_collections(house, copy)
        house.estate.env["ORCH_DSN_MONGO_DB"] = house.estate.servers["mongo"].dsn(copy)
    yield house
    for variable in ("ORCH_DSN_POSTGRES_DB", "ORCH_DSN_MONGO_DB"):
        house.estate.env.pop(variable, None)


def test_a_copy_under_another_name_is_noticed(copied: House) -> None:
    house = copied
    for command in (["plan"], ["apply"], ["wait", "--timeout", "600"], ["rollback", house.id, "--steps", "1", "--yes"]):
        told = house.orch(*command, code=5).output
        assert f"were written in database '{house.estate.prefix}db'" in told, command
        assert f"this is database '{house.estate.prefix}copy'" in told, command
        assert f"orch repair {house.id} --here" in told, command
    assert house.status()["problems"][0]["kind"] == "elsewhere"


def test_a_copy_is_declared_once_and_goes_on(copied: House) -> None:
    house = copied
    told = house.orch("repair", house.id, "--here", "--reason", "moved on Monday").output
    assert "belong" in told or "of this database" in told
    house.orch("apply")
    assert house.status()["applied"] == [1, 2, 3, 4]
    moved = [r for r in house.attempts() if r["origin"] == "moved"]
    assert [(r["version"], r["reason"]) for r in moved] == [(3, "moved on Monday")]
    assert "nothing to record" in house.orch("repair", house.id, "--here").output
    house.orch("rollback", house.id, "--to", "2", "--yes")
    assert house.status()["applied"] == [1, 2]


def test_a_whole_estate_is_declared_by_one_command(copied: House) -> None:
    house = copied
    house.orch("repair", "--here")
    house.orch("apply")
    house.orch("repair", code=2)


def test_the_first_database_does_not_mind_its_copy(copied: House) -> None:
    house = copied
    for variable in ("ORCH_DSN_POSTGRES_DB", "ORCH_DSN_MONGO_DB"):
        house.estate.env.pop(variable, None)
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


def test_a_restore_in_place_needs_no_command(house: House, tmp_path: Path) -> None:
    house.orch("apply", "--only", house.id, "--to", "3")
    name, aside = house.estate.prefix + "db", house.estate.prefix + "aside"
    if house.engine == "postgres":  # a new database of the same name, as dropdb, createdb and pg_restore leave it
        maintenance(
            house,
            f'ALTER DATABASE "{name}" RENAME TO "{aside}"',
            f'CREATE DATABASE "{name}" TEMPLATE "{aside}"',
        )
    else:
        copy_collections(house, aside)
        client = house.estate.client()
        client.drop_database(name)
        for collection in client[aside].list_collection_names():
            client[name][collection].insert_many(list(client[aside][collection].find()))
    assert not house.status()["problems"]
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


def test_a_renamed_database_needs_no_command(pg_house: House) -> None:
    house = pg_house
    house.orch("apply", "--only", house.id, "--to", "3")
    name, new = house.estate.prefix + "db", house.estate.prefix + "new"
    maintenance(house, f'ALTER DATABASE "{name}" RENAME TO "{new}"')
    house.estate.env["ORCH_DSN_POSTGRES_DB"] = house.estate.servers["postgres"].dsn(new)
    house.orch("apply")


def test_a_database_of_an_earlier_release_is_taken_over_silently(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "3")
    if house.engine == "postgres":
        house.estate.sql("db", "ALTER TABLE orch_history DROP COLUMN identity")
    else:
        house.estate.mongo("db")["orch_history"].update_many({}, {"$unset": {"identity": 1}})
    assert not house.status()["problems"]
    house.orch("apply")
    if house.engine == "postgres":
        rows = [row[0] for row in house.estate.sql("db", "SELECT identity FROM orch_history ORDER BY version")]
    else:
        rows = [row.get("identity", "") for row in house.estate.mongo("db")["orch_history"].find().sort("version")]
    assert [bool(row) for row in rows] == [False, False, False, True]
    assert not house.status()["problems"]


def test_a_database_made_from_a_template_of_the_manifest_is_right(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.add("postgres", "base", {"000001_a.up.sql": "CREATE TABLE a (id int);"})
    estate.orch("apply")
    files: dict[str, str | bytes] = {
        "000001_a.up.sql": "CREATE TABLE a (id int);",
        "000002_b.up.sql": "CREATE TABLE b (id int);",
    }
    estate.add("postgres", "copy", files, create={"template": estate.prefix + "base"})
    estate.orch("apply", "--only", "copy")
    estate.orch("status", "--only", "copy")
    assert "Nothing to do" in estate.orch("apply", "--only", "copy").text


def test_two_entries_that_are_one_database_are_refused(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "3")
    server = house.estate.servers[house.engine]
    name = house.estate.prefix + "db"
    other = server.dsn(name).replace("127.0.0.1", "localhost")
    house.estate.manifest(
        f"  - {{name: db, server: {house.engine}}}\n  - {{name: twin, engine: {house.engine}, "
        f'migrations: migrations/{house.id}/schema, dsn: "${{TWIN}}"}}\n'
    )
    house.estate.env["TWIN"] = other
    for command in (["plan"], ["apply"], ["status"]):
        told = house.orch(*command, code=5).output
        assert f"{house.engine}-twin" in told, command
        assert "are one database" in told, command
    assert house.tables() == [1, 2, 3]


def test_two_entries_that_are_one_database_are_refused_at_the_first_apply(estate: Estate) -> None:
    """On PostgreSQL no survey can tell before there is a version table: whoever comes second runs nothing."""
    for engine, text in (
        ("postgres", "CREATE TABLE t (id int);"),
        ("mongo", '[{"insert": "t", "documents": [{"a": 1}]}]'),
    ):
        name = f"{estate.prefix}once"
        dsn = estate.servers[engine].dsn(name)
        extension = "sql" if engine == "postgres" else "json"
        estate.env |= {"FIRST": dsn, "SECOND": dsn.replace("127.0.0.1", "localhost")}
        estate.manifest(
            f"  - {{name: a, engine: {engine}, dsn: '${{FIRST}}', migrations: m}}\n"
            f"  - {{name: b, engine: {engine}, dsn: '${{SECOND}}', migrations: m}}\n"
        )
        (estate.root / "m").mkdir(exist_ok=True)
        for file in (estate.root / "m").iterdir():
            file.unlink()
        (estate.root / "m" / f"1_t.up.{extension}").write_text(text)
        told = estate.orch("apply", code=5).text
        assert "are one database" in told
        if engine == "mongo":
            assert name not in estate.client().list_database_names()
            estate.orch("apply", "--only", "a")
        assert "are one database" in estate.orch("status", code=5).text


# ---------------------------------------------------------------- two clusters


@pytest.fixture
def other_cluster() -> Server:
    return start("postgres-debian")


def test_a_dump_loaded_elsewhere_is_noticed(pg_house: House, other_cluster: Server, tmp_path: Path) -> None:
    house, name = pg_house, pg_house.estate.prefix + "db"
    house.orch("apply", "--only", house.id, "--to", "3")
    rows = house.estate.sql("db", "SELECT * FROM orch_history")
    with psycopg.connect(other_cluster.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    try:
        dump = subprocess.run(["pg_dump", "--version"], capture_output=True, text=True, check=False)
        assert dump.returncode == 0
        with psycopg.connect(other_cluster.dsn(name)) as there, psycopg.connect(house.dsn) as here:
            columns = here.execute(
                "SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum) "
                "FROM pg_attribute WHERE attrelid = 'orch_history'::regclass AND attnum > 0"
            ).fetchone()
            assert columns is not None
            there.execute(f"CREATE TABLE orch_history ({columns[0]}, PRIMARY KEY (version, attempt))".encode())
            there.execute("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)")
            there.execute("INSERT INTO schema_migrations VALUES (3, false)")
            marks = ", ".join(["%s"] * len(rows[0]))
            for row in rows:
                there.execute(f"INSERT INTO orch_history VALUES ({marks})".encode(), row)
        house.estate.env["ORCH_DSN_POSTGRES_DB"] = other_cluster.dsn(name)
        told = house.orch("apply", code=5).output
        assert "on server" in told
        house.orch("repair", "--here")
        house.orch("apply")
    finally:
        house.estate.env.pop("ORCH_DSN_POSTGRES_DB", None)
        with psycopg.connect(other_cluster.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
