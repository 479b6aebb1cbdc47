"""What a login may and may not do on a PostgreSQL server, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import Estate

from orchestrator import embedded
from orchestrator.embedded import Server


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
        ("search_path=hunter2", "'search_path'", "options=-csearch_path%3D"),
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
