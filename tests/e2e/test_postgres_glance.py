"""A history that is read over libpq alone: the same answer as over psycopg, or none; and psycopg is not loaded for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from estate import Estate, start
from psycopg import sql
from test_refusals import secure
from test_scram import login, set_password

from orchestrator.embedded import Server
from orchestrator.engines.postgres import glance as by_libpq
from orchestrator.engines.postgres import scram as keys
from orchestrator.engines.postgres.engine import Postgres
from orchestrator.engines.postgres.find_tables import Usual
from orchestrator.engines.postgres.scram import ScramKeys
from orchestrator.engines.postgres.slots import Slots
from orchestrator.errors import OrchError
from orchestrator.model import CreateOptions, History, LockHolder, Target
from orchestrator.secret import Secret

__all__ = ["secure"]

Seen = tuple[History, LockHolder | None]
FILES = {
    "1_a.up.sql": "CREATE TABLE a (id int);",
    "2_b.up.sql": "CREATE TABLE b (id int);",
    "2_b.down.sql": "DROP TABLE b;",
}
PROGRAM = """
import os, sys
import orchestrator.cli as cli
os._exit = lambda code: print([name for name in ("psycopg", "asyncio", "ssl") if name in sys.modules], code)
cli.main()
"""


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """One database with two migrations, and one that is missing."""
    estate = Estate(tmp_path_factory.mktemp("glance"), {"postgres": start("postgres-wheel")})
    estate.add("postgres", "a", FILES)
    estate.orch("apply")
    yield estate
    estate.drop()


def target(estate: Estate, name: str = "a", query: str = "", **changes: str) -> Target:
    server = estate.servers["postgres"]
    url = server.dsn(estate.prefix + name) + query
    for old, new in changes.items():
        url = url.replace(getattr(server, old), new)
    return Target(
        f"postgres-{name}", "postgres", Secret(url), estate.prefix + name, f"{server.host}:{server.port}", "s"
    )


def glanced(there: Target, *extensions: str, usual: Usual | None = None, scram: ScramKeys | None = None) -> Seen | None:
    return by_libpq.glance(
        there, extensions, usual or Usual(), "orch/run tester", Slots(), scram or ScramKeys(), whose_lock=True
    )


def session(there: Target, *extensions: str) -> Seen:
    engine = Postgres("tester", "run")
    try:
        with engine.connect(there) as opened:
            return opened.look(extensions)
    finally:
        engine.close()


def run(estate: Estate, command: str) -> str:
    """Run a command in a process of its own, and return what it had loaded, and its exit code."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, command], cwd=estate.root, env=estate.env, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_run_with_nothing_to_do_does_not_load_psycopg(applied: Estate) -> None:
    for command in ("apply", "status", "plan", "wait"):
        assert run(applied, command) == "[] 0"


def test_a_fleet_with_nothing_to_do_looks_for_members_that_vanished_without_psycopg(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", {"1_a.up.sql": "CREATE TABLE a (id int);"})
    for members in ("[acme, globex]", "[acme]"):
        source = f"for_each: {{values: {members}}}"
        estate.manifest(f'  - {{name: "t_{{n}}", server: postgres, migrations: migrations/t/schema, {source}}}\n')
        estate.orch("apply")
    assert run(estate, "apply") == "[] 0"
    assert f"'{estate.prefix}t_globex'" in estate.orch("apply").stderr


def test_a_fleet_whose_password_is_stretched_once_does_not_load_psycopg(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", {"1_a.up.sql": "CREATE TABLE a (id int);"})
    fleet = '{{name: "t_{{n}}", server: postgres, migrations: migrations/t/schema, for_each: {{range: 1..{}}}}}'
    estate.manifest(f"  - {fleet.format(12)}\n")
    estate.orch("apply")
    assert run(estate, "apply") == "[] 0"


def test_the_names_on_a_server_are_the_same_over_libpq(pg_estate: Estate) -> None:
    begin = f"{pg_estate.prefix}n'\\%_\""
    names = [f"{begin}{end}" for end in ("b", "a", "é", "A")]
    server = pg_estate.servers["postgres"]
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        for name in (*names, f"{pg_estate.prefix}n'x"):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    there = replace(target(pg_estate), url=Secret(server.dsn("postgres")), database="postgres")
    engine = Postgres("tester", "run")
    try:
        for prefix in (begin, pg_estate.prefix, "nobody has this"):
            expected = engine.copies(there, CreateOptions()).names(prefix)
            assert by_libpq.database_names(there, prefix, "orch/run tester", Slots(), ScramKeys()) == expected
            assert prefix != begin or expected == names
        refused = replace(there, url=Secret(server.dsn("missing")), database="missing")
        assert by_libpq.database_names(refused, "", "orch/run tester", Slots(), ScramKeys()) is None
    finally:
        engine.close()


def test_where_anything_is_pending_a_session_serves(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_a.up.sql": "CREATE TABLE a (id int);"})
    assert run(pg_estate, "apply") == "['psycopg', 'asyncio', 'ssl'] 0"  # it is missing
    pg_estate.write("postgres-a", {"2_b.up.sql": "CREATE TABLE b (id int);"})
    assert run(pg_estate, "status") == "[] 0"
    assert run(pg_estate, "apply") == "['psycopg', 'asyncio', 'ssl'] 0"
    assert pg_estate.version_row("a") == [(2, False)]


@pytest.mark.parametrize(
    "change",
    [
        "SELECT 1",
        "UPDATE schema_migrations SET dirty = true",
        "DELETE FROM schema_migrations",
        "INSERT INTO schema_migrations VALUES (7, false)",
        "DROP TABLE schema_migrations",
        "DROP TABLE orch_history",
        "DROP TABLE orch_history, schema_migrations",
        "ALTER TABLE orch_history ADD COLUMN later text DEFAULT E'it''s \\\\ \"new\"\\n'",
        'ALTER TABLE orch_history ADD COLUMN "odd, {""name""}" int',
        "ALTER TABLE orch_history DROP COLUMN texts",
        "UPDATE orch_history SET actor = 'ไทย', error = E'a\\nb', reason = '{\"x\": null}'",
        "CREATE EXTENSION pg_trgm",
        "CREATE SCHEMA other; ALTER TABLE orch_history SET SCHEMA other; ALTER TABLE schema_migrations SET SCHEMA other; "
        "ALTER ROLE CURRENT_USER IN DATABASE {database} SET search_path = other",
        "SELECT pg_catalog.pg_advisory_lock({key})",
    ],
)
def test_the_answer_is_that_of_a_session(pg_estate: Estate, change: str) -> None:
    pg_estate.add("postgres", "a", FILES)
    pg_estate.orch("apply")
    there = target(pg_estate)
    with psycopg.connect(there.url.reveal(), autocommit=True) as other:
        from orchestrator.engines.postgres.names import lock_key

        change = change.replace("{database}", there.database).replace("{key}", str(lock_key(there, "public")))
        other.execute(change.encode())
        usual = Usual()
        expected = session(there, "pg_trgm", "hstore")
        seen = glanced(there, "pg_trgm", "hstore", usual=usual)
        assert seen in (expected, None)
        assert seen is not None or "odd" in change  # a name that needs quotes is left to the driver
        assert glanced(there, "pg_trgm", "hstore", usual=usual) == seen  # with the query of the database before


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE orch_history ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "ALTER TABLE orch_history RENAME TO x; CREATE VIEW orch_history AS SELECT * FROM x",
        "DROP TABLE orch_history; CREATE TABLE orch_history (id int)",
        "DROP TABLE schema_migrations; CREATE TABLE schema_migrations (version text)",
        "ALTER TABLE orch_history ALTER version TYPE text USING 'x' || version",
        "ALTER DATABASE {database} SET default_transaction_read_only = on",
    ],
)
def test_what_is_refused_is_left_to_a_session(pg_estate: Estate, change: str) -> None:
    pg_estate.add("postgres", "a", FILES)
    pg_estate.orch("apply")
    there = target(pg_estate)
    with psycopg.connect(there.url.reveal(), autocommit=True) as other:
        other.execute(f"CREATE ROLE {there.database} LOGIN PASSWORD 'x' IN ROLE pg_read_all_data".encode())
        try:
            other.execute(change.replace("{database}", there.database).encode())
            url = f"postgres://{there.database}:x@{there.endpoint}/{there.database}?sslmode=disable"
            there = replace(there, url=Secret(url))
            assert glanced(there) is None
            try:
                assert session(there)[0].read_only
            except OrchError as told:
                assert told.what
        finally:
            other.execute(f"DROP ROLE {there.database}".encode())


def test_logins_that_fail_are_left_to_a_session(applied: Estate) -> None:
    server = applied.servers["postgres"]
    assert glanced(target(applied)) == session(target(applied))
    for there in (
        target(applied, "missing"),
        target(applied, password="wrong"),
        target(applied, query="&nonsense=1"),
        target(applied, query="&options=-cnonsense%3D1"),
        target(applied, query="&sslmode=require"),
        target(applied, query="&target_session_attrs=standby"),
        replace(target(applied), endpoint=f"{server.host}:1,{server.host}:{server.port}"),
    ):
        assert glanced(there) is None


def test_a_server_that_does_not_answer_costs_a_second_at_most(applied: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_libpq, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgres://u:p@127.0.0.1:{silent.getsockname()[1]}/d?sslmode=disable"
        assert glanced(replace(target(applied), url=Secret(url))) is None


def test_a_line_that_dies_without_a_word_is_noticed(applied: Estate) -> None:
    connection = by_libpq._log_in(target(applied), "orch/run tester", ScramKeys())
    with socket.socket(fileno=os.dup(connection._pq.PQsocket(connection._pg))) as line:
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [line.getsockopt(socket.IPPROTO_TCP, one) for one in options] == [30, 10, 6]
    connection.close()


def test_warnings_of_the_server_do_not_reach_the_terminal(applied: Estate, capfd: pytest.CaptureFixture[str]) -> None:
    there = target(applied, query="&options=-cclient_min_messages%3Ddebug1%20-clog_min_messages%3Dwarning")
    assert glanced(there) is not None
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(psycopg.pq.version() < 180000, reason="this libpq takes no keys")
def test_the_password_is_stretched_once_for_many_databases(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[str] = []
    learn = keys._learn

    def counted(url: str, parameters: Mapping[str, str]) -> dict[str, str]:
        learnt.append(url)
        return learn(url, parameters)

    monkeypatch.setattr(keys, "_learn", counted)
    with login(postgres, "it's %41") as name, psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        url = f"postgres://{name}:{quote('it' + chr(39) + 's %41', safe='')}@{postgres.host}:{postgres.port}/postgres"
        there = Target("postgres-a", "postgres", Secret(url), "postgres", f"{postgres.host}:{postgres.port}", "server")
        scram = ScramKeys()
        seen = [glanced(there, scram=scram) for _ in range(5)]
        assert len(learnt) == 1
        assert seen == [session(there)] * 5
        assert scram.of("server", url, {})
        set_password(admin, name, "it's %41")
        assert glanced(there, scram=scram) is None  # these keys are of another salt: a session takes the password


def test_over_tls_and_by_a_service_file(secure: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Target("postgres-a", "postgres", Secret(""), "postgres", f"{secure.host}:{secure.port}", "server")
    plain = secure.dsn("postgres").replace("sslmode=disable", "")
    by_tls = replace(there, url=Secret(f"{plain}sslmode=require"))
    assert glanced(by_tls) == session(by_tls)
    assert glanced(by_tls) is not None
    refused = replace(there, url=Secret(f"{plain}sslmode=verify-full"))
    assert glanced(refused) is None
    file = tmp_path / "services"
    file.write_text(
        f"[here]\nhost={secure.host}\nport={secure.port}\nuser={secure.user}\npassword={secure.password}\nsslmode=require\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    by_service = replace(there, url=Secret("postgres:///postgres?service=here"))
    assert glanced(by_service) == session(by_service)
    assert glanced(by_service) is not None
