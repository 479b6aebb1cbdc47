"""Parameters of a DSN as the drivers of golang-migrate take them."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from estate import SOON, Estate

from orchestrator.engines.url import DsnError
from orchestrator.manifest.dsn import check_template, read_address


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
    result = pg_estate.orch("plan", "--wait", "60", code=7, timeout=45)
    assert "refuses a setting of the DSN (SQLSTATE 42704)" in result.stderr
    assert result.stderr.count("pool_max_conns") == 1, result.stderr


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


@pytest.mark.parametrize(
    ("value", "shown"), [("5s", "5.0"), ("500", "0.5"), ("2min", "120.0"), ("0", "0.0"), ("5+s", "5.0"), ("soon", None)]
)
def test_lock_timeout_of_a_dsn_is_that_of_the_database(value: str, shown: str | None) -> None:
    for dsn in (f"postgres://u@h/d?lock_timeout={value}", f"postgres://u@h/d?options=-clock_timeout%3D{value}"):
        if "+" not in value or "options" not in dsn:
            assert read_address(dsn, "postgres").parameters.get("lock_timeout") == shown


def test_a_file_waits_for_the_lock_of_a_table_as_long_as_the_dsn_says(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": "CREATE TABLE t (); CREATE TABLE s (setting text);"})
    pg_estate.orch("apply")
    path = pg_estate.root / "databases.yaml"
    path.write_text(path.read_text().replace("sslmode=disable", "sslmode=disable&lock_timeout=700ms"))
    read = "INSERT INTO s SELECT current_setting('lock_timeout');"
    pg_estate.write("postgres-a", {"2_x.up.sql": read, "3_x.up.sql": f"-- orch: lock_timeout=900ms\n{read}"})
    pg_estate.orch("apply")
    assert pg_estate.sql("a", "SELECT * FROM s") == [("700ms",), ("900ms",)]
    pg_estate.write("postgres-a", {"4_x.up.sql": "ALTER TABLE t ADD COLUMN a int;"})
    with psycopg.connect(pg_estate.servers["postgres"].dsn(pg_estate.prefix + "a")) as blocker:
        blocker.execute("SELECT FROM t")
        failed = pg_estate.orch("apply", code=1, timeout=20, patches=SOON).stderr
    assert "4_x.up.sql:1" in failed and "55P03" in failed
    path.write_text(path.read_text().replace("version: 1\n", "version: 1\ndefaults: {lock_timeout: 3s}\n"))
    pg_estate.write("postgres-a", {"4_x.up.sql": read})
    pg_estate.orch("apply")
    assert pg_estate.sql("a", "SELECT setting FROM s")[-1] == ("3s",), "the manifest says more than the DSN"


@pytest.mark.parametrize(
    ("parameter", "why"),
    [
        ("x-lock-strategy=table", "orch would not see golang-migrate's lock"),
        ("x-no-lock=true", "orch does not migrate without the lock"),
        ("x-transaction-lock=1", "orch holds its lock for a whole run"),
        ("x-no-lock=perhaps", "x-no-lock in the DSN is neither true nor false"),
    ],
)
def test_ways_of_golang_migrate_to_lock_that_orch_has_not(pg_estate: Estate, parameter: str, why: str) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": "SELECT 1;"})
    path = pg_estate.root / "databases.yaml"
    plain = path.read_text()
    path.write_text(plain.replace("sslmode=disable", f"sslmode=disable&{parameter}"))
    for command in ("validate", "plan", "apply"):
        told = pg_estate.orch(command, code=4).stderr
        assert why in told and "databases.yaml:3:" in told, command
    path.write_text(plain.replace("sslmode=disable", "sslmode=disable&x-lock-strategy=advisory&x-no-lock=false"))
    pg_estate.orch("apply")


def test_a_switch_of_mongodb_that_is_neither_true_nor_false(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "a", {"1_x.up.json": "[]"})
    path = mongo_estate.root / "databases.yaml"
    plain = path.read_text()
    for parameter in ("x-advisory-locking", "x-transaction-mode"):
        path.write_text(plain.replace("?", f"?{parameter}=maybe&", 1))
        for command in ("validate", "plan", "apply"):
            told = mongo_estate.orch(command, code=4).stderr
            assert f"{parameter} in the DSN is neither true nor false" in told and "databases.yaml:" in told
    path.write_text(plain.replace("?", "?x-advisory-locking=t&x-transaction-mode=F&", 1))
    mongo_estate.orch("apply")


_SWITCHES = {
    "postgres://u@h/d": ["x-multi-statement", "x-migrations-table-quoted", "x-no-lock", "x-transaction-lock"],
    "host=h dbname=d ": ["x-multi-statement", "x-migrations-table-quoted", "x-no-lock", "x-transaction-lock"],
    "mysql://u@tcp(h)/d": ["x-no-lock", "x-tls-insecure-skip-verify"],
    "sqlite3://d.db": ["x-no-tx-wrap"],
    "mongodb://h/d": ["x-advisory-locking", "x-transaction-mode"],
}
_NUMBERS = {
    "postgres://u@h/d": ["x-statement-timeout"],
    "mysql://u@tcp(h)/d": ["x-statement-timeout"],
    "mongodb://h/d": ["x-advisory-lock-timeout", "x-advisory-lock-timout"],
}


@pytest.mark.parametrize(
    ("start", "parameter", "wrong", "what"),
    [
        *((start, name, "maybe", "neither true nor false") for start, names in _SWITCHES.items() for name in names),
        *((start, name, "soon", "must be a finite number") for start, names in _NUMBERS.items() for name in names),
    ],
)
def test_a_wrong_switch_or_number_is_refused_before_variables_are_known(
    start: str, parameter: str, wrong: str, what: str
) -> None:
    engine = {"host=h dbname=d ": "postgres", "sqlite3://d.db": "sqlite", "mongodb://h/d": "mongo"}.get(start)
    engine = engine or start.partition(":")[0]
    query = start if start.endswith(" ") else f"{start}?{'tls=custom&' * parameter.startswith('x-tls')}"
    with pytest.raises(DsnError) as refused:
        check_template(f"{query}{parameter}={wrong}", engine)
    assert f"{parameter} in the DSN " in refused.value.what and what in refused.value.what
    check_template(f"{query}{parameter}=${{VALUE}}", engine)


@pytest.mark.parametrize(
    ("template", "engine", "what"),
    [
        ("postgres://h/{database}?sslmode=${S}&x-no-lock=true", "postgres", "has x-no-lock"),
        ("postgres://h/{database}?x%2Dno-lock=T", "postgres", "has x-no-lock"),
        ("postgres://h/{database}?x-lock-strategy=table&x-no-lock=${A}", "postgres", "x-lock-strategy"),
        ("postgres://${U}:p=${P}@h/{database}?sslmode=on", "postgres", "wrong value for 'sslmode'"),
        ("host=h dbname={database} password='a ${P}' x-transaction-lock = '1'", "postgres", "has x-transaction-lock"),
        ("${BASE}/{database}?x-no-lock=true", "postgres", "has x-no-lock"),
        ("${BASE}&sslmode=${S}&x-lock-strategy=table", "postgres", "x-lock-strategy"),
        ("${BASE} x-no-lock=true", "postgres", "has x-no-lock"),
        ("mysql://u@tcp(${H})/{database}?x-no-lock=1&tls=${TLS}", "mysql", "has x-no-lock"),
        ("mysql://u@tcp(h)/{database}?charset=latin1&tls=${TLS}", "mysql", "charset"),
        ("${BASE}/{database}?x-no-lock=1", "mysql", "has x-no-lock"),
        ("sqlite3://{database}.db?_busy_timeout=soon", "sqlite", "wrong value for '_busy_timeout'"),
        ("${BASE}&x-advisory-locking=maybe", "mongo", "x-advisory-locking"),
    ],
)
def test_what_stands_in_a_template_is_judged_without_its_variables(template: str, engine: str, what: str) -> None:
    with pytest.raises(DsnError) as refused:
        check_template(template, engine)
    assert what in refused.value.what


@pytest.mark.parametrize(
    ("template", "engine"),
    [
        ("postgres://h/{database}?x-no-lock=${A}&x-lock-strategy=${B:-table}&sslmode=${S}", "postgres"),
        ("host=h dbname={database} sslmode='${S}' x-no-lock = '${A}' connect_timeout=${T}", "postgres"),
        ("${BASE}/{database}?sslmode=disable", "postgres"),
        ("${BASE} dbname={database} sslmode=disable", "postgres"),
        ("${BASE}", "postgres"),
        ("${SCHEME}://h/{database}?sslmode=disable", "postgres"),
        ("mysql://u@tcp(h)/{database}?tls=${TLS}&x-tls-ca=${CA}&charset=${C}&x-no-lock=${A}", "mysql"),
        ("${DIRECTORY}/{database}.db?_busy_timeout=${T}", "sqlite"),
    ],
)
def test_values_of_variables_are_not_judged_before_they_are_known(template: str, engine: str) -> None:
    check_template(template, engine)


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
