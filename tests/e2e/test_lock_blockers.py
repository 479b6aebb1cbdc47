"""Who holds the lock of a table: prepared transactions, autovacuum, many sessions, on a cluster that is set up for it."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest
from estate import Estate
from replication import execute

from orchestrator import embedded
from orchestrator.engines.postgres.lock_queue import watching
from orchestrator.model import Blocking

SETTINGS = {  # autovacuum looks at once, and takes very long
    "max_prepared_transactions": "5",
    "autovacuum_naptime": "1s",
    "autovacuum_vacuum_cost_delay": "100ms",
    "autovacuum_vacuum_cost_limit": "1",
    "autovacuum_vacuum_threshold": "1",
    "autovacuum_vacuum_scale_factor": "0",
}


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with tempfile.TemporaryDirectory(prefix="orch-locks-") as directory:
        root = Path(directory)
        server = embedded.up(root, ["postgres"])["postgres"]
        execute(server.dsn("postgres"), *(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in SETTINGS.items()))
        embedded.down(root)
        server = embedded.up(root, ["postgres"])["postgres"]
        estate = Estate(tmp_path_factory.mktemp("locks"), {"postgres": server})
        try:
            yield estate
        finally:
            embedded.down(root)


def declared(estate: Estate, name: str) -> str:
    """Declare a database that is at version 1, with an ALTER as version 2; return its DSN."""
    estate.add("postgres", name, {"1_t1.up.sql": "CREATE TABLE t1 (id int, v text); CREATE TABLE t2 (id int);"})
    estate.orch("apply", "--only", name)
    estate.write(f"postgres-{name}", {"2_n.up.sql": "ALTER TABLE t1 ADD COLUMN n int;\n"})
    return estate.servers["postgres"].dsn(estate.prefix + name)


def told(dsn: str) -> Blocking:
    """Return what is told of the sessions that an ALTER of t1 waits for."""
    with psycopg.connect(dsn, autocommit=True) as waiting, psycopg.connect(dsn, autocommit=True) as watcher:
        waiting.execute("SET lock_timeout = '5s'")
        look = watching(watcher, waiting.info.backend_pid)

        def wait() -> None:
            with suppress(psycopg.Error):
                waiting.execute("ALTER TABLE t1 ADD COLUMN n int")

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            while (found := look().blocking) is None:
                assert thread.is_alive()
            return found
        finally:
            waiting.cancel()
            thread.join()


def test_a_prepared_transaction_is_named_with_the_statement_that_ends_it(estate: Estate) -> None:
    dsn = declared(estate, "prepared")
    gid = "it''s billing run 7"
    execute(dsn, f"BEGIN; SELECT FROM t1; INSERT INTO t2 VALUES (1); PREPARE TRANSACTION '{gid}'")
    alone = told(dsn)
    assert alone.who == f"the prepared transaction '{gid}'"
    user = estate.servers["postgres"].user
    assert alone.detail.startswith(f"blocked by the prepared transaction '{gid}' of user {user}, prepared ")
    way = f"finish the prepared transaction, in its database: COMMIT PREPARED, or ROLLBACK PREPARED '{gid}';"
    assert alone.hint == way
    # With others: each kind has its own way on, and no more than three are named.
    with ExitStack() as open_:
        for number in range(3):
            one = open_.enter_context(psycopg.connect(dsn, application_name=f"report-{number}"))
            one.execute("SELECT FROM t1")
        several = told(dsn)
        assert several.who.endswith(" and 1 more")
        assert several.who.count("report-") == several.detail.count("blocked by backend") == 3
        assert "end them, if you know what they do: SELECT pg_terminate_backend(" in several.hint
        assert several.hint.endswith(way)
    execute(dsn, f"ROLLBACK PREPARED '{gid}'")
    estate.orch("apply", "--only", "prepared")


def test_autovacuum_gives_way_by_itself_with_the_settings_that_nobody_changed(estate: Estate) -> None:
    dsn = declared(estate, "vacuumed")
    execute(dsn, "INSERT INTO t1 SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g", "DELETE FROM t1")
    query = (
        "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND query LIKE '%t1' AND datname = "
    )
    deadline = time.monotonic() + 60
    while not estate.sql("vacuumed", f"{query}'{estate.prefix}vacuumed'"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    found = told(dsn)
    assert "(autovacuum worker): active, its transaction began" in found.detail
    assert "autovacuum gives way to a session that waits longer than deadlock_timeout (1s) in one try" in found.hint
    assert "pg_terminate_backend" not in found.hint
    assert "tried again" not in estate.orch("apply", "--only", "vacuumed").stderr
    assert estate.version_row("vacuumed") == [(2, False)]
