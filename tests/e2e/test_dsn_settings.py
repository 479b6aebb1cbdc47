"""Parameters of a DSN as the drivers of golang-migrate take them."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from estate import Estate

from orchestrator.engines.url import DsnError
from orchestrator.manifest.dsn import read_address


def options(dsn: str) -> list[str]:
    return parse_qs(urlsplit(read_address(dsn, "postgres").url).query).get("options", [])


def test_settings_of_the_server_are_passed_as_options(pg_estate: Estate) -> None:
    shown = ["TimeZone", "statement_timeout", "search_path", "work_mem", "app.tenant", "default_transaction_isolation"]
    values = ", ".join(f"current_setting('{name}')" for name in shown)
    pg_estate.add("postgres", "a", {"1_x.up.sql": f"CREATE TABLE s AS SELECT ARRAY[{values}] AS a;"})
    path = pg_estate.root / "databases.yaml"
    wanted = (
        "timezone=Asia/Bangkok&statement_timeout=5000&search_path=other,public&work_mem=9MB&app.tenant=a+%5C+b"
        "&default_transaction_isolation=repeatable+read&binary_parameters=yes&options=-cwork_mem%3D8MB"
    )
    path.write_text(path.read_text().replace("sslmode=disable", f"sslmode=disable&{wanted}"))
    pg_estate.orch("validate")
    pg_estate.orch("apply")
    with psycopg.connect(pg_estate.servers["postgres"].dsn(pg_estate.prefix + "a")) as connection:
        row = connection.execute("SELECT a FROM s").fetchone()
    assert row == (["Asia/Bangkok", "5s", "other, public", "9MB", "a \\ b", "repeatable read"],) or row == (
        ["Asia/Bangkok", "5s", "other,public", "9MB", "a \\ b", "repeatable read"],
    )


def test_every_file_runs_as_the_role_that_the_dsn_names(pg_estate: Estate) -> None:
    role, server = pg_estate.prefix + "owner", pg_estate.servers["postgres"]
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} CREATEDB".encode())
        try:
            pg_estate.add("postgres", "a", {f"{n}_t.up.sql": f"CREATE TABLE t{n} ();" for n in (1, 2, 3)})
            path = pg_estate.root / "databases.yaml"
            path.write_text(path.read_text().replace("sslmode=disable", f"sslmode=disable&role={role}"))
            pg_estate.orch("apply")
            owners = pg_estate.sql("a", "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
            assert owners == [(role,)]
        finally:
            pg_estate.drop()
            connection.execute(f"DROP ROLE {role}".encode())


def test_a_setting_that_the_server_does_not_know_is_told_as_such(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": "SELECT 1;"})
    path = pg_estate.root / "databases.yaml"
    path.write_text(path.read_text().replace("sslmode=disable", "sslmode=disable&pool_max_conns=4"))
    pg_estate.orch("validate")
    result = pg_estate.orch("plan", "--wait", "20", code=7, timeout=15)
    assert "refuses a setting of the DSN (SQLSTATE 42704)" in result.stderr and "pool_max_conns" in result.stderr


@pytest.mark.parametrize("name", ["sslmod", "conect_timeout", "ssl_mode", "connection_timeout"])
def test_a_slip_of_the_pen_is_no_setting(name: str) -> None:
    with pytest.raises(DsnError) as refused:
        read_address(f"postgres://u@h/d?{name}=1", "postgres")
    assert "did you mean" in refused.value.hint


@pytest.mark.parametrize(
    "name", ["statement_timeout", "lock_timeout", "tcp_keepalives_idle", "TimeZone", "role", "a.b"]
)
def test_settings_are_taken_in_both_forms(name: str) -> None:
    assert options(f"postgres://u@h/d?{name}=1") == [f"-c {name}=1"]
    if name != "a.b":
        assert f"options='-c {name}=1'" in read_address(f"host=h dbname=d {name}=1", "postgres").url


def test_half_a_password_is_no_setting() -> None:
    with pytest.raises(DsnError) as refused:
        read_address("host=h dbname=d password=my secret=word", "postgres")
    assert "secret" not in refused.value.what + refused.value.hint


@pytest.mark.parametrize("scheme", ["pgx", "pgx4", "pgx5", "PGX5"])
def test_the_schemes_of_golang_migrate(scheme: str) -> None:
    assert read_address(f"{scheme}://u:p@h/d", "postgres").url == "postgres://u:p@h/d"


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgres+psycopg2", "mongodb+motor"])
def test_a_scheme_of_a_python_library_gets_a_hint(scheme: str) -> None:
    base = scheme.partition("+")[0]
    with pytest.raises(DsnError) as refused:
        read_address(f"{scheme}://u:secret@h/d", "mongo" if base == "mongodb" else "postgres")
    assert f"write {base}:// instead" in refused.value.hint and "secret" not in refused.value.what


def test_connect_direct_of_mongodb() -> None:
    assert read_address(
        "mongodb://h/d?connect=direct&w=1", "mongo"
    ).url == "mongodb://h:27017/d?directConnection=true&w=1" or (
        read_address("mongodb://h/d?connect=direct&w=1", "mongo").url == "mongodb://h/d?directConnection=true&w=1"
    )
    assert "connect" not in read_address("mongodb://h/d?connect=automatic", "mongo").url
