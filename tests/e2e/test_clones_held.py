"""Clones that a test left in use, and a server that is restarted or goes while tests have clones on it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from estate import Estate
from proxy import Rule, proxied
from replication import execute

from orchestrator import embedded, testing
from orchestrator.embedded import Server
from orchestrator.errors import ConnectError


@pytest.fixture(scope="module")
def publishing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """A cluster that takes prepared transactions and logical replication."""
    with tempfile.TemporaryDirectory(prefix="orch-held-") as directory:
        root = Path(directory)
        server = embedded.up(root, ["postgres"])["postgres"]
        settings = {"max_prepared_transactions": "5", "wal_level": "logical"}
        execute(server.dsn("postgres"), *(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings.items()))
        embedded.down(root)
        server = embedded.up(root, ["postgres"])["postgres"]
        estate = Estate(tmp_path_factory.mktemp("held"), {"postgres": server})
        estate.add("postgres", "a", {"1_a.up.sql": "CREATE TABLE a (b int);"})
        try:
            yield estate
        finally:
            embedded.down(root)


HELD = {
    "prepared transactions": ["BEGIN", "INSERT INTO a VALUES (1)", "PREPARE TRANSACTION 'it''s \"x\"'"],
    "a subscription": [
        "CREATE SUBSCRIPTION \"s %\" CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)"
    ],
    "a replication slot": ["SELECT pg_create_logical_replication_slot('held', 'pgoutput')"],
    "both, and a database that is read-only": [
        "BEGIN",
        "LOCK TABLE a",
        "PREPARE TRANSACTION 'y'",
        "CREATE SUBSCRIPTION s2 CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$",
    ],
}


@pytest.mark.parametrize("statements", HELD.values(), ids=HELD)
def test_nothing_that_a_test_left_keeps_its_database(
    publishing: Estate, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in publishing.env.items():
        monkeypatch.setenv(name, value)
    server = publishing.servers["postgres"]
    with testing.database("a", file=publishing.root / "databases.yaml") as db:
        execute(db.dsn, *statements)
        if "slot" in statements[0]:  # and somebody reads from it
            reader = psycopg.connect(db.dsn, replication="database", autocommit=True)
            reader.pgconn.exec_(b"START_REPLICATION SLOT held LOGICAL 0/0")
    with psycopg.connect(server.dsn("postgres")) as maintenance:
        for query in (
            "SELECT FROM pg_database WHERE datname = %s",
            "SELECT FROM pg_prepared_xacts WHERE database = %s OR true",
            "SELECT FROM pg_replication_slots WHERE database = %s OR true",
            "SELECT FROM pg_subscription WHERE subname <> %s",
        ):
            assert not maintenance.execute(query.encode(), (db.name,)).fetchall(), query


def test_what_a_killed_process_prepared_goes_with_its_clone(publishing: Estate) -> None:
    name = publishing.orch("clone", "a", "--pid", str(os.getpid())).stdout.strip()
    dsn = publishing.servers["postgres"].dsn(name)
    execute(dsn, "BEGIN", "INSERT INTO a VALUES (1)", "PREPARE TRANSACTION 'x'")
    publishing.orch("drop-clone", name)
    with psycopg.connect(publishing.servers["postgres"].dsn("postgres")) as maintenance:
        assert not maintenance.execute("SELECT FROM pg_prepared_xacts").fetchall()


def test_a_server_that_goes_and_comes_back(
    pg_estate: Estate, monkeypatch: pytest.MonkeyPatch, postgres: Server
) -> None:
    """Each outage is waited for. After one in vain every test is told at once, until the server is there again."""
    pg_estate.add("postgres", "a", {"1_a.up.sql": "CREATE TABLE a (b int);"})
    for name, value in pg_estate.env.items():
        monkeypatch.setenv(name, value)
    told: list[str] = []
    goes = partial(Rule, b'DROP DATABASE IF EXISTS "orch_clone', 1, "cut before")
    with proxied(postgres.host, postgres.port) as proxy:
        file = pg_estate.root / "databases.yaml"
        file.write_text(file.read_text().replace(f":{postgres.port}/", f":{proxy.port}/"))
        tests = testing.estate(file, embedded=False, wait=30, tell=told.append)
        proxy.spoil(restart := goes(down=0.5))
        with tests.database("a") as db:
            pass  # and the server is restarted
        assert restart.struck and not rows(postgres, "SELECT FROM pg_database WHERE datname = %s", db.name)
        told.clear()
        assert testing.estate(file, embedded=False, wait=0.1) is tests
        proxy.spoil(goes(down=60))
        with pytest.raises(ConnectError) as first, tests.database("a") as db:
            pass  # and the server goes
        assert "the argument `wait` of orchestrator.testing.estate()" in first.value.hint
        assert "--wait" not in first.value.hint
        with pytest.raises(ConnectError, match="cannot connect"), tests.database("a"):
            pass
        (line,) = told
        assert "waiting up to 0.1 s for the server of postgres-a" in line
        proxy.spoil(Rule(b"never", 1, "delay"))
        with pytest.raises(ConnectError), tests.database("a"):
            pass  # nobody has looked yet
        monkeypatch.setattr(testing.estates, "_LOOK_AGAIN", 0.0)
        with tests.database("a") as again:
            assert again.name != db.name
        tests.close()


def rows(server: Server, query: str, *parameters: str) -> list[tuple[object, ...]]:
    """Ask the server, and not through the proxy."""
    with psycopg.connect(server.dsn("postgres")) as maintenance:
        return maintenance.execute(query.encode(), parameters).fetchall()


def test_a_transaction_left_open_in_mongodb_is_ended_and_no_other(
    mongo_estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself the server ends it after a minute, for which the drop would wait."""
    mongo_estate.add("mongo", "m", {"1_a.up.json": '[{"insert": "a", "documents": [{"_id": 7}]}]'})
    for name, value in mongo_estate.env.items():
        monkeypatch.setenv(name, value)
    client = mongo_estate.client()
    other = client[f"{mongo_estate.prefix}other"]["a"]
    other.insert_one({"_id": 1})
    with client.start_session() as theirs, theirs.start_transaction():
        other.insert_one({"_id": 2}, session=theirs)
        with testing.database("m", file=mongo_estate.root / "databases.yaml") as db:
            session = db.connect().start_session()
            session.start_transaction()
            db.connect().get_default_database()["a"].find_one()
            session.client.get_default_database()["a"].insert_one({"_id": 8}, session=session)
            began = time.monotonic()
        assert time.monotonic() - began < 40
        other.insert_one({"_id": 3}, session=theirs)
    assert db.name not in client.list_database_names()
    assert other.count_documents({}) == 3
