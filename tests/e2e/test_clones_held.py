"""Clones that a test left in use: prepared transactions, subscriptions and replication slots are gone with the clone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from estate import Estate
from replication import execute

from orchestrator import embedded, testing


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
