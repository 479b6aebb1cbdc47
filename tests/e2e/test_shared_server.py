"""Many databases of one server: shared catalogues, and sessions that the server ends."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
from estate import ROOT_VARIABLE, Estate

ROLE = """\
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
    CREATE ROLE {role};
  END IF;
END $$;
CREATE TABLE t AS SELECT generate_series(1, 5000) AS id;
GRANT SELECT ON t TO {role};
"""


def execute(estate: Estate, *statements: str) -> None:
    with psycopg.connect(estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.mark.timing
def test_a_role_that_all_databases_make_and_change_at_once(pg_estate: Estate) -> None:
    role = pg_estate.prefix + "shared"
    names = [f"p{number}" for number in range(8)]
    for name in names:
        files: dict[str, str | bytes] = {"1_role.up.sql": ROLE.format(role=role)}
        for number in range(2, 6):
            files[f"{number}_set.up.sql"] = f"ALTER ROLE {role} SET work_mem = '{number}MB';\nSELECT pg_sleep(0.01);\n"
        pg_estate.add("postgres", name, files)
    try:
        pg_estate.orch("apply")
        for name in names:
            assert pg_estate.status(f"postgres-{name}")["version"] == 5
    finally:
        pg_estate.drop()
        execute(pg_estate, f"DROP ROLE IF EXISTS {role}")


def test_a_role_that_is_there_is_an_error_all_the_same(pg_estate: Estate) -> None:
    role = pg_estate.prefix + "there"
    execute(pg_estate, f"CREATE ROLE {role}")
    try:
        pg_estate.add("postgres", "a", {"1_x.up.sql": f"CREATE ROLE {role};"})
        result = pg_estate.orch("apply", code=1)
        assert "1_x.up.sql:1" in result.stderr and "42710" in result.stderr
    finally:
        execute(pg_estate, f"DROP ROLE {role}")


@pytest.mark.parametrize("head", ["", "-- orch: no-transaction\n"])
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELECT pg_terminate_backend(pg_backend_pid());", "57P01"),
        ("DO $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END $$;", "57P01"),
        ("SET transaction_timeout = '200ms';\nSELECT pg_sleep(5);", "25P04"),
    ],
)
def test_a_file_that_ends_its_own_session_runs_once_and_is_recorded(
    pg_estate: Estate, text: str, code: str, head: str
) -> None:
    pg_estate.add(
        "postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();", "2_x.up.sql": f"{head}CREATE TABLE u ();\n{text}\n"}
    )
    result = pg_estate.orch("apply", code=1)
    assert "2_x.up.sql:" in result.stderr and code in result.stderr
    assert "the server ended the session" in result.stderr
    assert result.stderr.count("the connection broke") == 0
    tries = pg_estate.sql("a", "SELECT attempt, done, error <> '' FROM orch_history WHERE version = 2")
    assert tries == [(1, False, True)]
    assert ("u" in pg_estate.tables("a")) is bool(head)
    shown = pg_estate.status("postgres-a")
    assert shown["version"] == 1


@pytest.mark.timing
def test_a_limit_of_a_transaction_that_database_or_role_sets_is_lifted(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();"})
    pg_estate.orch("apply")
    name = pg_estate.prefix + "a"
    for setting in ("transaction_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"):
        limit = "5s" if setting == "idle_session_timeout" else "300ms"  # between the look and the run it still holds
        execute(pg_estate, f"ALTER DATABASE \"{name}\" SET {setting} = '{limit}'")
    slow = "SELECT pg_sleep(0.6);\n"
    pg_estate.write(
        "postgres-a", {"2_a.up.sql": slow, "3_b.up.sql": f"-- orch: no-transaction\n{slow}{slow}", "4_c.up.sql": slow}
    )
    result = pg_estate.orch("apply")
    assert "the connection broke" not in result.stderr
    assert pg_estate.status("postgres-a")["version"] == 4


@pytest.mark.timing
@pytest.mark.parametrize("key", ["statement_timeout", "lock_timeout"])
def test_none_lifts_what_role_or_database_sets(pg_estate: Estate, key: str) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();"})
    pg_estate.orch("apply")
    execute(pg_estate, f"ALTER DATABASE \"{pg_estate.prefix}a\" SET {key} = '300ms'")
    pg_estate.write(
        "postgres-a", {"2_a.up.sql": f"SELECT pg_sleep(0.5);\nCREATE TABLE s AS SELECT current_setting('{key}');\n"}
    )
    path = pg_estate.root / "databases.yaml"
    path.write_text(
        path.read_text().replace("version: 1\n", f"version: 1\ndefaults: {{{key}: none, lock_try: none}}\n")
    )
    pg_estate.orch("apply")
    assert pg_estate.sql("a", "SELECT * FROM s") == [("0",)]


def test_dead_clients_are_noticed_by_the_server(pg_estate: Estate) -> None:
    names = (
        "client_connection_check_interval",
        "tcp_keepalives_idle",
        "tcp_keepalives_interval",
        "tcp_keepalives_count",
    )
    shown = ", ".join(f"current_setting('{name}')" for name in names)
    pg_estate.add(
        "postgres", "a", {"1_t.up.sql": "SELECT 1;", "2_t.up.sql": f"CREATE TABLE s AS SELECT ARRAY[{shown}] AS a;"}
    )
    pg_estate.orch("apply")
    assert pg_estate.sql("a", "SELECT a FROM s") == [(["10s", "30", "10", "6"],)]


def test_every_file_runs_as_the_role_of_the_dsn(pg_estate: Estate) -> None:
    role = pg_estate.prefix + "owner"
    execute(pg_estate, f"CREATE ROLE {role}")
    try:
        pg_estate.add(
            "postgres", "a", {f"{n}_t.up.sql": f"CREATE TABLE t{n} ();" for n in (1, 2, 3)}, create={"owner": role}
        )
        path = pg_estate.root / "databases.yaml"
        path.write_text(path.read_text().replace("sslmode=disable", f"sslmode=disable&options=-crole%3D{role}"))
        execute(pg_estate, f'CREATE DATABASE "{pg_estate.prefix}a" OWNER {role}')
        pg_estate.orch("apply")
        owners = pg_estate.sql("a", "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
        assert owners == [(role,)]
    finally:
        pg_estate.drop()
        execute(pg_estate, f"DROP ROLE {role}")


def refusals(role: str) -> int:
    """Return how often the server has refused a connection to this role."""
    (log,) = (Path(os.environ[ROOT_VARIABLE]) / "postgres-wheel").glob("*/log")
    return log.read_text(errors="replace").count(f'too many connections for role "{role}"')


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("count", [8, 12])
def test_few_connections_are_enough_for_many_new_databases(pg_estate: Estate, limit: int, count: int) -> None:
    """The connections over which databases are made are given back when others need them."""
    role, server = pg_estate.prefix + "few", pg_estate.servers["postgres"]
    execute(pg_estate, f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'few' CONNECTION LIMIT {limit}")
    try:
        for number in range(count):
            pg_estate.add("postgres", f"n{number}", {"1_t.up.sql": "CREATE TABLE t ();"})
        path = pg_estate.root / "databases.yaml"
        path.write_text(path.read_text().replace(f"//{server.user}:${{POSTGRES_PASSWORD}}@", f"//{role}:few@"))
        before = refusals(role)
        pg_estate.orch("apply")
        for number in range(count):
            assert pg_estate.version_row(f"n{number}") == [(1, False)]
        assert before == 0 and refusals(role) < 4 * count  # who waits, waits for our own connections, not by trying
    finally:
        pg_estate.drop()
        execute(pg_estate, f"DROP ROLE {role}")


def test_a_server_without_a_free_connection_is_told_as_such(pg_estate: Estate) -> None:
    role, server = pg_estate.prefix + "none", pg_estate.servers["postgres"]
    execute(pg_estate, f"CREATE ROLE {role} LOGIN PASSWORD 'few' CONNECTION LIMIT 0")
    try:
        pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();"})
        path = pg_estate.root / "databases.yaml"
        path.write_text(path.read_text().replace(f"//{server.user}:${{POSTGRES_PASSWORD}}@", f"//{role}:few@"))
        result = pg_estate.orch("plan", code=7)
        assert f"no connection left for user '{role}' (SQLSTATE 53300)" in result.stderr
        assert "CONNECTION LIMIT" in result.stderr and "--jobs-per-server 1" in result.stderr
    finally:
        execute(pg_estate, f"DROP ROLE {role}")


@pytest.mark.timing
def test_a_role_that_several_processes_make_and_change_at_once(pg_estate: Estate) -> None:
    """As with one Job for each database: no process knows of the others, and all succeed the first time."""
    role = pg_estate.prefix + "among"
    names = [f"j{number}" for number in range(5)]
    for name in names:
        files: dict[str, str | bytes] = {"1_role.up.sql": ROLE.format(role=role)}
        for number in range(2, 7):
            files[f"{number}_set.up.sql"] = (
                f"ALTER ROLE {role} CONNECTION LIMIT {number};\nALTER ROLE {role} SET work_mem = '{number}MB';\n"
                f"GRANT {role} TO CURRENT_USER;\nREVOKE {role} FROM CURRENT_USER;\nSELECT pg_sleep(0.02);\n"
            )
        pg_estate.add("postgres", name, files)
    try:
        running = [pg_estate.start("apply", "--only", f"postgres-{name}") for name in names]
        ended = [process.communicate(timeout=120) for process in running]
        assert [process.returncode for process in running] == [0] * len(names), ended
        assert {pg_estate.status(f"postgres-{name}")["version"] for name in names} == {6}
    finally:
        pg_estate.drop()
        execute(pg_estate, f"DROP ROLE IF EXISTS {role}")
