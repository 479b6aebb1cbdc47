"""Waiting for the lock of a table: readers behind us wait for one short try at most, and whoever is in the way is named."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from estate import SOON, Estate

pytestmark = pytest.mark.timing

ALTER = "ALTER TABLE t1 ADD COLUMN n int;\n"


def _estate(estate: Estate, second: str, **keys: object) -> str:
    """Declare a database that is at version 1, with this file as version 2; return its DSN."""
    estate.add("postgres", "a", {"1_t1.up.sql": "CREATE TABLE t1 (id int); INSERT INTO t1 VALUES (1);"}, **keys)
    estate.orch("apply")
    estate.write("postgres-a", {"2_n.up.sql": second})
    return estate.servers["postgres"].dsn(estate.prefix + "a")


@contextmanager
def _report(dsn: str) -> Iterator[int]:
    """Be an application whose transaction has read t1 and stays open; yield its backend."""
    with psycopg.connect(dsn, application_name="nightly-report") as connection:
        connection.execute("SELECT 'of the report' FROM t1")
        yield connection.info.backend_pid


def _longest_read(dsn: str, over: threading.Event, found: list[float]) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not over.is_set():
            began = time.monotonic()
            connection.execute("SELECT * FROM t1")
            found.append(time.monotonic() - began)
            time.sleep(0.02)


def test_readers_wait_for_one_short_try_and_the_blocker_is_named(pg_estate: Estate) -> None:
    """With the default settings, but for how long is waited in all."""
    dsn = _estate(pg_estate, ALTER, lock_timeout="3s")
    over, reads = threading.Event(), list[float]()
    reader = threading.Thread(target=_longest_read, args=(dsn, over, reads))
    with _report(dsn) as pid:
        reader.start()
        told = pg_estate.orch("apply", code=1, patches=SOON).stderr
        over.set()
        reader.join()
    assert max(reads) < 2.0, sorted(reads)[-5:]
    assert sum(read > 0.5 for read in reads) >= 3, "it was tried several times"
    waiting, failed = told.split("FAILED")
    for text in (waiting, failed):
        assert f"blocked by backend {pid} (user {pg_estate.servers['postgres'].user}, nightly-report)" in text
        assert re.search(
            r"idle in transaction, its transaction began \d+ s ago; last query: SELECT 'of the report'", text
        )
    assert f"SELECT pg_terminate_backend({pid});" in failed
    assert "raise" not in failed
    assert pg_estate.version_row("a") == [(1, False)]
    history = pg_estate.orch("history", "a", "--output", "json").json["attempts"]
    assert f"backend {pid}" in history[-1]["error"]
    assert "of the report" not in history[-1]["error"], "what others ask for is not kept"
    pg_estate.orch("apply")
    assert pg_estate.version_row("a") == [(2, False)]


def test_a_file_gets_its_lock_in_a_later_try(pg_estate: Estate) -> None:
    dsn = _estate(pg_estate, ALTER, lock_try="200ms", lock_timeout="60s")
    with psycopg.connect(dsn) as connection, pg_estate.start("apply") as run:
        connection.execute("SELECT * FROM t1")
        assert run.stderr is not None
        assert next(line for line in iter(run.stderr.readline, "") if "blocked by backend" in line)
        connection.rollback()
        _, told = run.communicate(timeout=60)
    assert run.returncode == 0, told
    assert pg_estate.version_row("a") == [(2, False)]


def test_the_header_of_a_file_sets_one_try(pg_estate: Estate) -> None:
    dsn = _estate(pg_estate, f"-- orch: lock_try=100ms\n-- orch: lock_timeout=100ms\n{ALTER}")
    with _report(dsn):
        began = time.monotonic()
        told = pg_estate.orch("apply", code=1, patches=SOON).stderr
    assert told.count("tried again in") == 5, "however short, it is tried six times"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("own", ["SET lock_timeout = '100ms';\n", "SET LOCAL lock_timeout = '100ms';\n"])
def test_the_limit_that_a_file_sets_itself_is_respected(pg_estate: Estate, own: str) -> None:
    dsn = _estate(pg_estate, own + ALTER, lock_try="none", lock_timeout="60s")
    with _report(dsn), pg_estate.start("apply") as run:
        assert run.stderr is not None
        lines = iter(run.stderr.readline, "")
        began = time.monotonic()
        assert next(line for line in lines if "tried again in" in line)
        assert time.monotonic() - began < 40, "it waited for the limit of the manifest"
        run.terminate()


def test_a_row_that_somebody_else_changes_is_waited_for_in_one_piece(pg_estate: Estate) -> None:
    """An UPDATE that waits for a row stops no reader: it must not begin again every second."""
    dsn = _estate(pg_estate, "UPDATE t1 SET id = id + 1;\n")
    waits = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() "
        "AND query_start < clock_timestamp() - interval '2.3 s'"  # one try of a statement that stops readers is 2 s
    )
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE t1 SET id = 10")
        with pg_estate.start("apply") as run:
            deadline = time.monotonic() + 60
            while not pg_estate.sql("a", waits):
                assert time.monotonic() < deadline and run.poll() is None
                time.sleep(0.1)
            connection.commit()
            _, told = run.communicate(timeout=60)
    assert run.returncode == 0, told
    assert "tried again" not in told
    assert pg_estate.sql("a", "SELECT id FROM t1") == [(11,)]


def test_a_query_that_this_login_may_not_see_is_told_as_that(pg_estate: Estate) -> None:
    dsn = _estate(pg_estate, ALTER, lock_timeout="600ms", lock_try="300ms")
    role = f"{pg_estate.prefix}plain"
    database = pg_estate.prefix + "a"
    pg_estate.sql("a", f"CREATE ROLE {role} LOGIN PASSWORD 'plain-password'")
    try:
        for table in ("t1", "schema_migrations", "orch_history"):
            pg_estate.sql("a", f"ALTER TABLE {table} OWNER TO {role}")
        pg_estate.sql("a", f"GRANT CREATE ON SCHEMA public TO {role}")
        own = (
            pg_estate.servers["postgres"]
            .dsn(database)
            .replace(
                f"{pg_estate.servers['postgres'].user}:{pg_estate.servers['postgres'].password}",
                f"{role}:plain-password",
            )
        )
        with _report(dsn) as pid:
            told = pg_estate.orch("apply", code=1, env={"ORCH_DSN_POSTGRES_A": own}, patches=SOON).stderr
        assert f"blocked by backend {pid} (user " in told
        assert "GRANT pg_read_all_stats" in told
    finally:
        pg_estate.sql("a", f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")
