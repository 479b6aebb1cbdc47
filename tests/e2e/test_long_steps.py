"""What the server says of a migration that takes long: how far an index build is, who is in the way and since when."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from estate import Estate
from pymongo import MongoClient
from transcript import received_on_a_terminal

from orchestrator.engines.mongo.activity import watching
from orchestrator.model import Activity

pytestmark = pytest.mark.timing

# One row a page, and each row of the index takes its time: the server counts the pages.
SLOW_INDEX = """CREATE TABLE t (id int, filler char(5000));
ALTER TABLE t ALTER COLUMN filler SET STORAGE PLAIN;
INSERT INTO t SELECT n, 'x' FROM generate_series(1, 90) n;
CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.05); RETURN n; END';
CREATE INDEX slow_idx ON t (slow(id));
"""
BLOCKED_INDEX = "CREATE INDEX CONCURRENTLY a_idx ON a (id);\n"


def _events(lines: str, name: str) -> list[dict[str, Any]]:
    return [one for one in map(json.loads, lines.splitlines()) if one["event"] == name]


@contextmanager
def _open_transaction(dsn: str, table: str) -> Iterator[int]:
    with psycopg.connect(dsn, application_name="nightly-report") as connection:
        connection.execute(f"INSERT INTO {table} VALUES (1)")
        yield connection.info.backend_pid


def test_an_index_build_and_a_wait_are_told_as_they_stand(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_a.up.sql": "CREATE TABLE a (id int);"})
    pg_estate.add("postgres", "b", {"1_t.up.sql": SLOW_INDEX})
    pg_estate.add("postgres", "quick", {"1_t.up.sql": "SELECT 1;"})
    pg_estate.orch("apply", "--only", "a")
    pg_estate.write("postgres-a", {"2_idx.up.sql": BLOCKED_INDEX})
    dsn = pg_estate.servers["postgres"].dsn(pg_estate.prefix + "a")
    began = datetime.now(UTC)
    with _open_transaction(dsn, "a") as pid:
        run = pg_estate.start("apply", "--output", "jsonl")
        assert run.stdout is not None
        lines = [json.loads(next(run.stdout))]
        while lines[-1]["event"] != "StepWaiting":
            lines.append(json.loads(next(run.stdout)))
    text, told = run.communicate(timeout=60)
    waiting = lines[-1]
    assert (waiting["database"], waiting["version"]) == ("postgres-a", 2)
    assert waiting["file"].endswith("2_idx.up.sql")
    assert waiting["who"] == f"backend {pid} (user {pg_estate.servers['postgres'].user}, nightly-report)"
    assert abs((datetime.fromisoformat(waiting["since"]) - began).total_seconds()) < 5
    assert "idle in transaction" in waiting["detail"] and "last query: INSERT INTO a" in waiting["detail"]
    assert run.returncode == 0, told  # it went on when the transaction was over

    far = [one for one in lines if one["event"] == "StepProgress"] + _events(text, "StepProgress")
    scanned = [one for one in far if one["what"] == "building index: scanning table"]
    assert scanned and all(one["database"] == "postgres-b" and one["total"] == 90 for one in scanned)
    assert [one["done"] for one in scanned] == sorted({one["done"] for one in scanned})
    assert {one["database"] for one in far} <= {"postgres-a", "postgres-b"}, "what is quick is not asked about"


def test_a_terminal_shows_percents_and_a_log_the_wait(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "b", {"1_t.up.sql": SLOW_INDEX, "2_a.up.sql": "CREATE TABLE a (id int);"})
    env = {key: value for key, value in pg_estate.env.items() if key not in ("CI", "NO_COLOR")}
    code, shown = received_on_a_terminal(["apply"], pg_estate.root, env, columns=100)
    assert code == 0, shown
    assert any(f"{percent} %" in shown for percent in range(30, 100))
    pg_estate.write("postgres-b", {"3_idx.up.sql": "ALTER TABLE a ADD COLUMN n int;\n"})
    dsn = pg_estate.servers["postgres"].dsn(pg_estate.prefix + "b")
    with _open_transaction(dsn, "a") as pid:
        run = pg_estate.start("apply")
        assert run.stderr is not None
        assert next(line for line in run.stderr if f"blocked by backend {pid}" in line)
    run.communicate(timeout=60)
    assert run.returncode == 0


@pytest.fixture
def mongo(estate: Estate) -> Iterator[tuple[Estate, MongoClient[Any]]]:
    with MongoClient[Any](estate.servers["mongo"].dsn("admin")) as client:
        yield estate, client


def _looks(
    client: MongoClient[Any], database: str, command: dict[str, Any], enough: Callable[[Activity], Any]
) -> Activity:
    """Run a command in a session of its own, and return the first activity that is enough."""
    with client.start_session() as session:
        work = threading.Thread(target=client[database].command, args=(command,), kwargs={"session": session})
        look = watching(client, session.session_id)
        work.start()
        try:
            return next(found for found in iter(look, None) if enough(found) or not work.is_alive())
        finally:
            if "createIndexes" in command:
                work.join()


def test_mongodb_tells_how_far_an_index_build_is_and_who_holds_its_lock(mongo: tuple[Estate, MongoClient[Any]]) -> None:
    estate, client = mongo
    database = client[name := estate.prefix + "logs"]
    database.logs.insert_many([{f"k{key}": f"{n}-{key}" for key in range(60)} for n in range(4_000)])
    command = {"createIndexes": "logs", "indexes": [{"key": {"$**": 1}, "name": "all"}]}
    found = _looks(client, name, command, lambda one: one.total and one.done)
    assert found.what == "Index Build: scanning collection"
    assert 0 < found.done <= found.total == 4_000

    estate.add("mongo", "logs", {"1_v.up.json": '[{"collMod": "logs", "validator": {"k1": {"$type": "string"}}}]'})
    with client.start_session() as other, other.start_transaction():
        database.logs.insert_one({"k1": "x"}, session=other)
        run = estate.start("apply")
        assert run.stderr is not None
        line = next(line for line in run.stderr if "waits: blocked by a transaction of 127.0.0.1:" in line)
        assert "logs" in line and "which began" in line and line.rstrip().endswith("s ago")
        other.abort_transaction()
        run.communicate(timeout=60)
    assert run.returncode == 0
