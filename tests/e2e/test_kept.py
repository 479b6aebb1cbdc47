"""Connections that wait from the survey to the run: used again, never in the way, never too many."""

import time
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from orchestrator.embedded import Server
from orchestrator.engines.postgres import engine as module
from orchestrator.engines.postgres import libpq
from orchestrator.engines.postgres.engine import Postgres
from orchestrator.errors import ConnectionLostError
from orchestrator.model import CreateOptions, Target
from orchestrator.secret import Secret


@pytest.fixture
def engine() -> Iterator[Postgres]:
    made = Postgres("tester", "run")
    yield made
    made.close()


@pytest.fixture
def target(postgres: Server, engine: Postgres) -> Iterator[Target]:
    name = f"kept_{uuid4().hex[:8]}"
    found = Target(f"postgres-{name}", "postgres", Secret(postgres.dsn(name)), name, "here", "server")
    engine.create(found, CreateOptions())
    yield found
    engine.close()
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def backend(engine: Postgres, target: Target, *, keep: bool = False) -> int:
    with engine.connect(target) as session:
        session.read_history()
        if keep:
            session.keep()
        return session._tables.server_pid


def test_the_next_session_has_the_connection_of_the_one_before(engine: Postgres, target: Target) -> None:
    first = backend(engine, target, keep=True)
    assert backend(engine, target) == first
    assert backend(engine, target) != first


def test_a_connection_that_broke_while_it_waited_is_told_and_not_used_twice(engine: Postgres, target: Target) -> None:
    pid = backend(engine, target, keep=True)
    with psycopg.connect(target.url.reveal(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (pid,))
    with pytest.raises(ConnectionLostError):
        backend(engine, target)
    assert backend(engine, target) != pid


def test_it_does_not_wait_for_long(engine: Postgres, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.05)
    pid = backend(engine, target, keep=True)
    deadline = time.monotonic() + 60
    while engine._kept and time.monotonic() < deadline:
        time.sleep(0.01)
    assert backend(engine, target) != pid


def test_none_is_kept_where_there_is_no_room(engine: Postgres, target: Target) -> None:
    engine._room[target.server_key] = 0
    pid = backend(engine, target, keep=True)
    assert backend(engine, target) != pid


def test_what_could_not_be_kept_is_read_over_libpq_although_psycopg_is_loaded(engine: Postgres, target: Target) -> None:
    assert engine.glance(target) is None, "a session reads it, and keeps its connection"
    engine._room[target.server_key] = 0
    seen = engine.glance(target)
    assert libpq.library() is None or (seen and seen[0].attempts == ())


def test_a_run_that_is_too_slow_for_what_it_keeps_keeps_nothing_more(
    engine: Postgres, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.05)
    assert engine.keeps(target)
    backend(engine, target, keep=True)
    deadline = time.monotonic() + 60
    while engine.keeps(target) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not engine.keeps(target)


def test_a_database_can_be_a_template_although_we_kept_a_connection(engine: Postgres, target: Target) -> None:
    backend(engine, target, keep=True)
    name = f"{target.database}_copy"
    copy = Target(
        "postgres-copy", "postgres", Secret(target.url.reveal().replace(target.database, name)), name, "here", "server"
    )
    try:
        assert engine.create(copy, CreateOptions(template=target.database))
    finally:
        with psycopg.connect(target.url.reveal(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}"')
