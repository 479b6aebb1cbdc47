"""Logins: any password works and is never shown; what a login may not do is said before or without damage."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import psycopg
import pytest
from estate import Estate
from psycopg import sql

from orchestrator.embedded import Server

ONE = {"000001_one.up.sql": "CREATE TABLE one (id int);", "000001_one.down.sql": "DROP TABLE one;"}


# ---------------------------------------------------------------- logins


@contextmanager
def role(server: Server, options: str, password: str) -> Iterator[str]:
    """Make a role for one test."""
    name = f"r{secrets.token_hex(6)}"
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        identifier = sql.Identifier(name)
        drop = sql.SQL("DROP ROLE IF EXISTS {}").format(identifier)
        connection.execute(drop)
        create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} ").format(identifier, sql.Literal(password)) + sql.SQL(
            options
        )
        connection.execute(create)
        yield name
        databases = connection.execute("SELECT datname FROM pg_database WHERE datdba = %s::regrole", (name,)).fetchall()
        for (database,) in databases:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
        connection.execute(drop)


def login(estate: Estate, user: str, password: str) -> None:
    """Let the manifest use this login, its password through a variable."""
    path = estate.root / "databases.yaml"
    text = re.sub(
        r"postgres(?:ql)?://[^:]+:\$\{POSTGRES_PASSWORD\}@", f"postgres://{user}:${{SHOP_PASSWORD}}@", path.read_text()
    )
    path.write_text(text)
    estate.env["SHOP_PASSWORD"] = password


AWKWARD = "p@ss:w/o?rd#1% 'x'\\"


def test_any_password_works_as_it_is_and_is_never_shown(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {**ONE, "2_x.up.sql": f"SELECT * FROM nowhere -- {AWKWARD}"})
    with role(pg_estate.servers["postgres"], "CREATEDB", AWKWARD) as user:
        login(pg_estate, user, AWKWARD)
        result = pg_estate.orch("apply", code=1)
        assert pg_estate.tables("a") == {"one"}
        for form in (AWKWARD, quote(AWKWARD, safe="")):
            assert form not in result.text
            assert form not in pg_estate.orch("status", "--output", "json").text
        assert AWKWARD not in str(pg_estate.sql("a", "SELECT * FROM orch_history"))


def test_a_wrong_password(estate: Estate) -> None:
    estate.add("postgres", "a", ONE)
    estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]'})
    wrong = {"POSTGRES_PASSWORD": "wrong-one-1234", "MONGO_PASSWORD": "wrong-two-5678"}
    for command in ("apply", "plan", "status"):
        result = estate.orch(command, code=7, env=wrong)
        assert "refuses the login of user" in result.stderr
        assert "postgres-a" in result.text
        assert "mongo-m" in result.text
        assert "user and password" in result.stderr
        assert not any(password in result.text for password in wrong.values())
    assert estate.snapshot() == {}


def test_a_variable_that_is_not_set_is_needed_by_its_own_databases_only(estate: Estate) -> None:
    estate.add("postgres", "a", ONE)
    estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]'})
    del estate.env["POSTGRES_PASSWORD"]
    result = estate.orch("apply", code=4)
    assert "database 'postgres-a' needs POSTGRES_PASSWORD, which is not set" in result.stderr
    assert "POSTGRES_PASSWORD_FILE" in result.stderr
    assert estate.snapshot() == {}
    estate.orch("validate")
    estate.orch("apply", "--only", "m")


@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_two_entries_that_turn_out_to_be_one_database(estate: Estate, engine: str) -> None:
    server = estate.servers[engine]
    estate.write("x-a", ONE if engine == "postgres" else {"1_a.up.json": '[{"create": "a"}]'})
    more = f"engine: {engine}, migrations: migrations/x-a/schema"
    estate.manifest("".join(f"  - {{name: {name}, {more}, dsn: '${{{name.upper()}}}'}}\n" for name in "abc"))
    first, second, third = (server.dsn(f"{estate.prefix}{name}") for name in "aac")
    env = {"A": first, "B": second + ("&connect_timeout=5" if engine == "postgres" else "&appName=b"), "C": third}
    line = (estate.root / "databases.yaml").read_text().count("\n")
    for command in ("apply", "status", "plan"):
        said = estate.orch(command, code=4, env=env).stderr
        place = f"databases.yaml:{line - 1}:5: "
        same = f"{engine}-b and {engine}-a are the same database: '{estate.prefix}a' at 127.0.0.1:{server.port}"
        assert place + same in said
        assert f"{engine}-a is at databases.yaml:{line - 2}:5" in said
        assert f"{engine}-c and" not in said
    assert (
        f"{engine}-c and {engine}-a are"
        in estate.orch("apply", code=4, env=env | {"B": third, f"ORCH_DSN_{engine.upper()}_C": first}).stderr
    )
    assert estate.snapshot() == {}
    estate.orch("apply", "--only", "b", env=env)  # alone it is what its DSN says


def test_two_schemas_of_one_database_are_two_entries(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "whole", {"1_a.up.sql": "CREATE SCHEMA one; CREATE SCHEMA two;"})
    pg_estate.orch("apply")
    entries = ""
    for name in ("one", "two"):
        dsn = pg_estate.servers["postgres"].dsn(pg_estate.prefix + "whole") + f"&options=-csearch_path%3D{name}"
        dsn = dsn.replace(pg_estate.servers["postgres"].password, "${POSTGRES_PASSWORD}")
        entries += f"  - {{name: {name}, engine: postgres, dsn: '{dsn}'}}\n"
        pg_estate.write(f"postgres-{name}", ONE)
    pg_estate.manifest(entries)
    pg_estate.orch("apply")
    tables = pg_estate.sql("whole", "SELECT schemaname FROM pg_tables WHERE tablename = 'one' ORDER BY 1")
    assert tables == [("one",), ("two",)]


def test_a_user_who_may_not_create_databases(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    with role(pg_estate.servers["postgres"], "NOCREATEDB", "secret-password") as user:
        login(pg_estate, user, "secret-password")
        result = pg_estate.orch("apply", code=7)
    assert "permission denied to create database" in result.stderr
    assert f'ALTER ROLE "{user}" CREATEDB' in result.stderr
    assert pg_estate.snapshot() == {}


@pytest.mark.parametrize("text", ["CREATE TABLE x (id int);", "SELECT 1;", ""], ids=["table", "record", "empty"])
def test_a_user_who_may_not_create_tables(pg_estate: Estate, text: str) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": text})
    server = pg_estate.servers["postgres"]
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(pg_estate.prefix + "a")))
    pg_estate.sql("a", "REVOKE CREATE ON SCHEMA public FROM public")
    before = pg_estate.snapshot()
    with role(server, "NOCREATEDB", f"secret-{len(text)}") as user:
        login(pg_estate, user, f"secret-{len(text)}")
        result = pg_estate.orch("apply", code=7)
        pg_estate.orch("status")
        pg_estate.orch("plan")
    assert "permission denied for schema public" in result.stderr
    assert f'GRANT USAGE, CREATE ON SCHEMA public TO "{user}"' in result.stderr
    assert pg_estate.snapshot() == before


def test_a_mongo_user_who_may_not_write(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]'})
    admin = mongo_estate.client().admin
    name, password = f"reader{mongo_estate.prefix}", "reader-password"
    admin.command("createUser", name, pwd=password, roles=[{"role": "read", "db": mongo_estate.prefix + "m"}])
    try:
        path = mongo_estate.root / "databases.yaml"
        user = mongo_estate.servers["mongo"].user
        path.write_text(path.read_text().replace(f"//{user}:", f"//{name}:"))
        mongo_estate.orch("status", env={"MONGO_PASSWORD": password})
        result = mongo_estate.orch("apply", code=7, env={"MONGO_PASSWORD": password})
    finally:
        admin.command("dropUser", name)
    assert "not authorized" in result.stderr
    assert f'grantRolesToUser("{name}"' in result.stderr
    assert password not in result.text
    assert mongo_estate.snapshot() == {}
