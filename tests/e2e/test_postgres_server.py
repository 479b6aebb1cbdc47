"""What a login may and may not do on a PostgreSQL server, and what it is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from estate import Estate
from proxy import Rule, proxied

from orchestrator import embedded
from orchestrator.embedded import Server
from orchestrator.engines.postgres.engine import Postgres
from orchestrator.errors import DatabaseMissingError
from orchestrator.model import Target
from orchestrator.secret import Secret


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Estate]:
    """An estate on a server of its own, whose databases may be closed to others."""
    root = tmp_path / "server"
    server = embedded.up(root, ["postgres"])["postgres"]
    try:
        (tmp_path / "estate").mkdir()
        yield Estate(tmp_path / "estate", {"postgres": server})
    finally:
        embedded.down(root)


def _execute(server: Server, *statements: str) -> None:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_login_that_may_only_connect_to_the_maintenance_database_creates_the_others(own: Estate) -> None:
    server = own.servers["postgres"]
    _execute(
        server,
        "CREATE ROLE maker LOGIN CREATEDB PASSWORD 'x'",
        "CREATE DATABASE lobby OWNER maker",
        "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
        "REVOKE CONNECT ON DATABASE template1 FROM PUBLIC",
    )
    dsn = f"postgresql://maker:x@127.0.0.1:{server.port}/{{database}}"
    (own.root / "databases.yaml").write_text(
        f'version: 1\nservers:\n  postgres: {{engine: postgres, dsn: "{dsn}"}}\ndatabases:\n'
        "  - {name: a, server: postgres, create: {maintenance_database: lobby}}\n"
    )
    own.write("postgres-a", {"1_x.up.sql": "CREATE TABLE x (id int);"})
    assert "1 to create" in own.orch("plan").stdout
    own.orch("apply")
    assert own.status("postgres-a")["applied"] == [1]


def test_a_database_that_came_after_the_servers_list_is_there(own: Estate) -> None:
    """Another run makes one while the answer of which there are is on its way."""
    server = own.servers["postgres"]
    with proxied(server.host, server.port) as proxy, ThreadPoolExecutor(1) as pool:
        slow = Rule(b"FROM pg_catalog.pg_database", 1, "hold")
        proxy.spoil(slow)

        def connect(name: str) -> bool:
            url = dataclasses.replace(server, port=proxy.port).dsn(name)
            with engine.connect(Target(f"postgres-{name}", "postgres", Secret(url), name, "", "server")) as session:
                return session.connection.execute("SELECT 1").fetchone() == (1,)

        engine = Postgres("tester@here", "run")
        missing = pool.submit(connect, "missing")
        assert slow.answered.wait(60)
        _execute(server, "CREATE DATABASE just_made")
        assert connect("just_made")
        assert not missing.done()
        slow.released.set()
        with pytest.raises(DatabaseMissingError):
            missing.result()
        assert connect("just_made")
        with pytest.raises(DatabaseMissingError):
            connect("missing")
        engine.close()


@pytest.mark.parametrize(
    ("create", "told"),
    [
        ("owner: nobody_of_that_name", 'role "nobody_of_that_name" does not exist'),
        ("encoding: UTF-9", "UTF-9"),
        ("template: no_such_template", "no_such_template"),
        ("locale: xx_XX", "xx_XX"),
    ],
)
def test_a_wrong_value_of_create_is_told_where_it_stands(pg_estate: Estate, create: str, told: str) -> None:
    pg_estate.manifest(f"  - {{name: a, server: postgres, create: {{{create}}}}}\n")
    pg_estate.write("postgres-a", {"1_x.up.sql": "SELECT 1;"})
    result = pg_estate.orch("apply", code=1)
    assert told in result.stderr
    assert "databases.yaml:5" in result.stderr
    assert "correct what stands under create:" in result.stderr


@pytest.mark.parametrize(
    "text",
    [
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public;",
        "DROP TABLE orch_history;",
        "DROP TABLE schema_migrations;",
        "DROP SCHEMA public CASCADE;",
    ],
)
def test_a_file_cannot_remove_what_is_remembered(pg_estate: Estate, text: str) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": "CREATE TABLE x (id int);", "2_y.up.sql": f"SELECT 1;\n{text}\n"})
    result = pg_estate.orch("apply", code=1)
    assert "2_y.up.sql" in result.stderr
    assert "the migration removes " in result.stderr and "record in it what is applied" in result.stderr
    assert "leave the tables in which orch and golang-migrate record versions out" in result.stderr
    assert pg_estate.status("postgres-a")["applied"] == [1]
    assert pg_estate.tables("a") == {"x"}


def test_a_file_of_very_many_statements(pg_estate: Estate) -> None:
    """A message that is copied for each of them takes minutes, in which the transaction is open."""
    many = 250_000
    pg_estate.add("postgres", "a", {"1_x.up.sql": "CREATE TABLE t (id int);\n" + "INSERT INTO t VALUES (1);\n" * many})
    pg_estate.orch("apply", timeout=60)
    assert pg_estate.sql("a", "SELECT count(*) FROM t") == [(many,)]


def test_what_the_server_warns_of_is_told(pg_estate: Estate) -> None:
    secret = pg_estate.servers["postgres"].password
    text = (
        f"DO $$ BEGIN FOR n IN 1..3 LOOP RAISE WARNING 'careful with {secret}'; END LOOP; RAISE NOTICE 'fine'; END $$;"
    )
    pg_estate.add("postgres", "a", {"1_x.up.sql": text, "2_y.up.sql": f"-- orch: no-transaction\nSELECT 1;\n{text}"})
    result = pg_estate.orch("apply")
    assert result.stderr.count("1_x.up.sql: WARNING: careful with") == 1
    assert result.stderr.count("2_y.up.sql: WARNING: careful with") == 1
    assert "fine" not in result.text


def test_a_server_without_tls_is_not_waited_for(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": "SELECT 1;"})
    path = pg_estate.root / "databases.yaml"
    path.write_text(path.read_text().replace("sslmode=disable", "sslmode=require"))
    result = pg_estate.orch("apply", "--wait", "60", code=7, timeout=45)
    assert "speaks no TLS, and the DSN requires it" in result.stderr
    assert "sslmode=prefer" in result.stderr


def test_a_right_that_a_role_of_the_file_lacks_is_granted_to_that_role(pg_estate: Estate) -> None:
    role = pg_estate.prefix + "Poor"
    _execute(pg_estate.servers["postgres"], f'CREATE ROLE "{role}"')
    try:
        pg_estate.add(
            "postgres",
            "a",
            {
                "1_x.up.sql": "CREATE TABLE x (id int);",
                "2_y.up.sql": f'SET LOCAL ROLE "{role}";\nINSERT INTO x VALUES (1);',
            },
        )
        for text in (
            "",
            f'BEGIN;\nSET ROLE "{role}";\nCOMMIT;\nBEGIN;\nINSERT INTO x VALUES (1);\nRESET ROLE;\nCOMMIT;',
        ):
            if text:
                pg_estate.write("postgres-a", {"2_y.up.sql": text})
            told = pg_estate.orch("apply", code=7).stderr
            assert f'GRANT SELECT, INSERT, UPDATE, DELETE ON x TO "{role}"' in told
    finally:
        _execute(pg_estate.servers["postgres"], f'DROP ROLE "{role}"')


@pytest.mark.parametrize(
    ("parameter", "told", "hint"),
    [
        ("sslmode=hunter2", "'sslmode'", "disable, allow, prefer, require, verify-ca or verify-full"),
        ("sslmod=hunter2", "'sslmod'", "sslmode"),
        ("connect_timeout=hunter2", "'connect_timeout'", "a whole number"),
    ],
)
def test_a_wrong_parameter_of_a_dsn_is_named_without_its_value(
    pg_estate: Estate, parameter: str, told: str, hint: str
) -> None:
    pg_estate.write("postgres-a", {"1_x.up.sql": "SELECT 1;"})
    (pg_estate.root / "databases.yaml").write_text(
        f'version: 1\ndatabases:\n  - {{name: a, engine: postgres, dsn: "postgres://u@127.0.0.1:9/a?{parameter}"}}\n'
    )
    result = pg_estate.orch("apply", code=4)
    assert told in result.stderr
    assert hint in result.stderr
    assert "databases.yaml:3" in result.stderr
    assert "hunter2" not in result.text
