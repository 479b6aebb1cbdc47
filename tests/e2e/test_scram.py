"""Many connections with one login: its password is stretched once, and nobody notices."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString
from urllib.parse import quote

import psycopg
import pytest
from estate import Estate
from proxy import Rule, proxied
from psycopg import sql

from orchestrator.embedded import Server
from orchestrator.engines.postgres import scram as postgres_scram
from orchestrator.engines.postgres.engine import Postgres
from orchestrator.engines.postgres.scram import WORTH_IT
from orchestrator.errors import ConnectError
from orchestrator.model import Target
from orchestrator.secret import Secret

NEEDS_KEYS = pytest.mark.skipif(psycopg.pq.version() < 180000, reason="this libpq takes no keys")


@contextlib.contextmanager
def login(server: Server, password: str) -> Iterator[str]:
    """Make a role with this password, and drop it again."""
    name = f"scram_{secrets.token_hex(4)}"
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        set_password(admin, name, password, "CREATE")
        try:
            yield name
        finally:
            admin.execute(f'DROP ROLE "{name}"'.encode())


def set_password(admin: psycopg.Connection[Any], name: str, password: str, verb: LiteralString = "ALTER") -> None:
    statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
    admin.execute(statement.format(sql.SQL(verb), sql.Identifier(name), sql.Literal(password)))


def target(server: Server, name: str, password: str) -> Target:
    url = f"postgres://{name}:{quote(password, safe='')}@{server.host}:{server.port}/postgres?sslmode=disable"
    return Target("postgres-a", "postgres", Secret(url), "postgres", f"{server.host}:{server.port}", "server")


def with_keys(engine: Postgres, target: Target) -> bool:
    """Connect, and return whether it was done with keys instead of the password."""
    with engine.connect(target) as session:
        options = {option.keyword: option.val for option in session.connection.pgconn.info}
        assert session.connection.execute("SELECT 1").fetchone() == (1,)
        return options.get(b"scram_client_key") is not None


@pytest.fixture
def engine() -> Iterator[Postgres]:
    engine = Postgres("tester@here", "run")
    yield engine
    engine.close()


@NEEDS_KEYS
@pytest.mark.parametrize("password", ["plain", "it's %41,i=1:@/ ,s=AAAA"])
def test_keys_serve_once_there_are_many_connections(postgres: Server, engine: Postgres, password: str) -> None:
    with login(postgres, password) as name:
        there = target(postgres, name, password)
        assert [with_keys(engine, there) for _ in range(WORTH_IT + 3)] == [False] * WORTH_IT + [True] * 3


def test_a_password_beyond_ascii_is_left_to_libpq(postgres: Server, engine: Postgres) -> None:
    password = "ﬁ\u00adpaß\u2003ไทย"  # which RFC 4013 makes another text of
    with login(postgres, password) as name:
        there = target(postgres, name, password)
        assert not any(with_keys(engine, there) for _ in range(WORTH_IT + 3))


@NEEDS_KEYS
def test_a_new_salt_is_met_with_the_password(postgres: Server, engine: Postgres) -> None:
    with login(postgres, "same") as name, psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        there = target(postgres, name, "same")
        for _ in range(WORTH_IT):
            with_keys(engine, there)
        assert with_keys(engine, there)
        set_password(admin, name, "same")
        assert not with_keys(engine, there)
        assert not with_keys(engine, there)

        set_password(admin, name, "another")
        with pytest.raises(ConnectError, match="refuses the login") as refused:
            with_keys(engine, there)
        assert "same" not in f"{refused.value.what}{refused.value.detail}{refused.value.hint}"


def test_a_wrong_password_is_told_as_ever(postgres: Server, engine: Postgres) -> None:
    with login(postgres, "right") as name:
        there = target(postgres, name, "wrong")
        for _ in range(WORTH_IT + 3):
            with pytest.raises(ConnectError, match="refuses the login"):
                with_keys(engine, there)


@NEEDS_KEYS
def test_keys_go_to_the_server_that_they_are_for(postgres: Server, engine: Postgres) -> None:
    """Of several hosts another one might have the salt of before, and take what the first refuses."""
    with login(postgres, "plain") as name:
        one = target(postgres, name, "plain")
        several = one.url.reveal().replace(
            f"@{postgres.host}:{postgres.port}", f"@127.0.0.1:1,localhost:{postgres.port}"
        )
        there = dataclasses.replace(one, url=Secret(several), server_key="several")
        assert [with_keys(engine, there) for _ in range(WORTH_IT + 1)] == [False] * WORTH_IT + [True]
        with engine.connect(there) as session:
            options = {option.keyword: option.val for option in session.connection.pgconn.info}
        assert options[b"host"] == b"localhost"
        assert options[b"hostaddr"] in (b"127.0.0.1", b"::1")


@NEEDS_KEYS
def test_many_open_files_are_no_matter(postgres: Server, engine: Postgres) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with login(postgres, "plain") as name, contextlib.ExitStack() as files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1100):
            files.callback(os.close, os.dup(0))
        there = target(postgres, name, "plain")
        assert [with_keys(engine, there) for _ in range(WORTH_IT + 1)] == [False] * WORTH_IT + [True]


@pytest.mark.timing
@NEEDS_KEYS
@pytest.mark.parametrize("patient", [False, True])
def test_who_comes_while_keys_are_learnt_waits_a_moment_for_them(
    postgres: Server, engine: Postgres, monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    """The server may keep whoever learns them waiting: then the others go on with the password."""
    if patient:
        monkeypatch.setattr(postgres_scram, "PATIENCE", 10.0)
    slow = Rule(b"SCRAM-SHA-256", WORTH_IT + 1, "delay")
    with (
        login(postgres, "plain") as name,
        proxied(postgres.host, postgres.port) as proxy,
        ThreadPoolExecutor(1) as pool,
    ):
        proxy.spoil(slow)
        there = target(dataclasses.replace(postgres, port=proxy.port), name, "plain")
        assert [with_keys(engine, there) for _ in range(WORTH_IT)] == [False] * WORTH_IT
        learning = pool.submit(with_keys, engine, there)
        while not slow.struck and not learning.done():
            time.sleep(0.001)
        assert not learning.done()
        assert with_keys(engine, there) is patient
        assert learning.result()
        assert with_keys(engine, there)


def test_nothing_of_a_login_stays_open(postgres: Server, engine: Postgres) -> None:
    with login(postgres, "plain") as name, psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        before = set(os.listdir("/proc/self/fd"))
        for _ in range(WORTH_IT + 3):
            with_keys(engine, target(postgres, name, "plain"))
        assert set(os.listdir("/proc/self/fd")) == before
        row = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [name]).fetchone()
        assert row is not None
        assert row[0] <= 1  # the last one may still be ending


def test_an_estate_of_many_databases_is_made_and_found_again(pg_estate: Estate) -> None:
    names = [f"d{number:02}" for number in range(12)]
    for name in names:
        pg_estate.add("postgres", name, {"1_t.up.sql": "CREATE TABLE t ();", "1_t.down.sql": "DROP TABLE t;"})
    pg_estate.orch("apply")
    assert all(pg_estate.tables(name) == {"t"} for name in names)
    assert "Nothing to do" in pg_estate.orch("apply").text
