"""`orch shell` and `orch dsn`: the way into a database, without a password that others can read."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from estate import Estate, Files, piped
from transcript import on_a_terminal

SQL: Files = {"1_t.up.sql": "CREATE TABLE t AS SELECT 42 AS answer;", "1_t.down.sql": "DROP TABLE t;"}


def _program(folder: Path, name: str) -> str:
    """Write a program that shows what it was given, and return a PATH on which it comes first."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text('#!/bin/sh\ncat /proc/$$/cmdline | tr "\\0" "\\n"; env | grep -c "^ORCH_SHELL_DSN=" || true\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.skipif(not shutil.which("psql"), reason="psql is not installed")
def test_psql_gets_the_login_and_its_command_line_no_password(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", SQL)
    pg_estate.orch("apply")
    assert pg_estate.orch("shell", "a", "--", "-Atc", "SELECT answer FROM t").stdout == "42\n"
    read = r"\! tr '\0' ' ' < /proc/$PPID/cmdline"
    line = pg_estate.orch("shell", "a", "--", "-c", read).stdout
    assert "psql" in line
    assert pg_estate.servers["postgres"].password not in line


def test_a_password_with_signs_reaches_psql(pg_estate: Estate) -> None:
    if not shutil.which("psql"):
        pytest.skip("psql is not installed")
    pg_estate.add("postgres", "a", SQL)
    pg_estate.orch("apply")
    server, role, password = pg_estate.servers["postgres"], pg_estate.prefix + "role", "p@ss:/?#% w'o\"r\\d"
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        literal = password.replace("'", "''")
        connection.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{literal}'".encode())
    try:
        for dsn in (
            f"postgres://{role}:{quote(password, safe='')}@127.0.0.1:{server.port}/{pg_estate.prefix}a",
            f"host=127.0.0.1 port={server.port} user={role} dbname={pg_estate.prefix}a "
            + "password='"
            + password.replace("\\", "\\\\").replace("'", "\\'")
            + "'",
        ):
            env = {"ORCH_DSN_POSTGRES_A": dsn}
            assert pg_estate.orch("shell", "a", "--", "-Atc", "SELECT current_user", env=env).stdout == f"{role}\n"
    finally:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP ROLE {role}".encode())


def test_mongosh_gets_the_dsn_by_its_environment(mongo_estate: Estate, tmp_path: Path) -> None:
    mongo_estate.add("mongo", "a", {"1_c.up.json": '[{"create": "c"}]'})
    shown = mongo_estate.orch("shell", "a", env={"PATH": _program(tmp_path / "bin", "mongosh")}).stdout
    assert "--nodb" in shown
    assert shown.endswith("\n1\n")  # and the password is in no argument: `orch` above looks for it in all output


def test_sqlite3_gets_the_path_of_the_file(tmp_path: Path) -> None:
    estate = Estate(tmp_path, {})
    (tmp_path / "databases.yaml").write_text(
        'version: 1\nservers: {s: {engine: sqlite, dsn: "sqlite3://{database}.db"}}\ndatabases: [{name: a1, server: s}]\n'
    )
    estate.write("sqlite-a1", {"1_t.up.sql": "CREATE TABLE t (n);"})
    estate.orch("apply")
    shown = estate.orch("shell", "a1", "--", "-readonly", env={"PATH": _program(tmp_path / "bin", "sqlite3")}).stdout
    assert f"file:{tmp_path / 'a1.db'}?mode=rw\n-readonly\n" in shown


def test_what_is_missing_is_told(mongo_estate: Estate, tmp_path: Path) -> None:
    mongo_estate.add("mongo", "a", {"1_c.up.json": '[{"create": "c"}]'})
    told = mongo_estate.orch("shell", "a", env={"PATH": str(tmp_path)}, code=2).stderr
    assert "no mongosh on this machine" in told
    assert "mongodb-mongosh" in told
    assert "names 0" not in mongo_estate.orch("shell", "b", code=2).stderr


def test_a_dsn_is_printed_for_programs_and_after_a_question_for_people(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", SQL)
    pg_estate.orch("apply")
    server = pg_estate.servers["postgres"]
    done = piped(["dsn", "a"], pg_estate.root, pg_estate.env)
    with psycopg.connect(done.stdout.strip()) as connection:
        assert connection.execute("SELECT answer FROM t").fetchall() == [(42,)]
    assert f":{server.port}/{pg_estate.prefix}a" in pg_estate.orch("dsn", "a", "--no-password").stdout
    person = {name: value for name, value in pg_estate.env.items() if name != "CI"}
    code, screen = on_a_terminal(["dsn", "a"], pg_estate.root, person, "no\n")
    assert code == 1
    assert "Type 'yes' to show the password" in screen
    assert server.password not in screen
    code, screen = on_a_terminal(["dsn", "a"], pg_estate.root, person, "yes\n")
    assert code == 0
    assert server.password in screen
