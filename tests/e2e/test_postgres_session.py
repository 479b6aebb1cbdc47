"""What a PostgreSQL file may do to its session, its schema and its lock, and what of that later statements see."""

from __future__ import annotations

import time

import psycopg
import pytest
from house import House


@pytest.fixture
def house(new_house: House) -> House:
    """One database, with files that the test writes after the first."""
    return new_house


def write(house: House, *texts: str) -> None:
    """Write the files of version 2 and those after it."""
    house.estate.write(house.id, {f"{number:06d}_x.up.sql": text for number, text in enumerate(texts, 2)})


def rows(house: House, query: str) -> list[object]:
    return [row[0] for row in house.estate.sql("db", query)]


# ---------------------------------------------------------------- settings, temporary tables


def test_a_block_that_begins_with_set_runs_once(house: House) -> None:
    write(
        house,
        "CREATE SCHEMA app; CREATE TABLE app.log (what text);",
        "BEGIN;\nSET search_path TO app;\nINSERT INTO log VALUES ('one');\nCOMMIT;\n"
        "INSERT INTO log VALUES ('two');\n"
        "BEGIN;\nINSERT INTO log VALUES ('three');\nSET search_path TO public;\nSET LOCAL search_path TO app;\nCOMMIT;\n"
        "BEGIN;\nINSERT INTO app.log VALUES (current_setting('search_path'));\nCOMMIT;\n",
    )
    house.orch("apply")
    assert rows(house, "SELECT what FROM app.log") == ["one", "two", "three", "public"]


def test_a_mode_of_a_later_block_goes_with_what_was_set_by_a_query(house: House) -> None:
    write(
        house,
        "SELECT pg_catalog.set_config('search_path', '', false);\n"
        "BEGIN ISOLATION LEVEL SERIALIZABLE;\n"
        "CREATE TABLE public.seen AS SELECT current_setting('transaction_isolation') || current_setting('search_path') AS s;\n"
        "COMMIT;\nSELECT 1;",
    )
    house.orch("apply")
    assert rows(house, "SELECT s FROM seen") == ["serializable"]


def test_an_error_without_a_position_names_its_statement_whatever_was_set(house: House) -> None:
    write(
        house,
        "-- orch: no-transaction\nRESET search_path;\nRESET work_mem;\nRESET lock_timeout;\n"
        "CREATE TABLE seen (id int PRIMARY KEY);\nINSERT INTO seen VALUES (1), (1);\nSELECT 1;",
    )
    assert "000002_x.up.sql:6:1" in house.orch("apply", code=1).output


def test_a_temporary_table_lasts_to_the_end_of_its_file(house: House) -> None:
    write(
        house,
        "BEGIN;\nCREATE TEMP TABLE picked AS SELECT generate_series(1, 3) AS id;\nPREPARE fill AS INSERT INTO t1 SELECT $1;\n"
        "COMMIT;\nCREATE INDEX CONCURRENTLY t1_id ON t1 (id);\nBEGIN;\nINSERT INTO t1 SELECT id + 10 FROM picked;\nCOMMIT;\n"
        "EXECUTE fill(20);",
        "CREATE TABLE seen AS SELECT to_regclass('pg_temp.picked') AS picked, count(*) AS n FROM pg_prepared_statements;",
    )
    house.orch("apply")
    assert rows(house, "SELECT id FROM t1 ORDER BY id") == [1, 11, 12, 13, 20]
    assert house.estate.sql("db", "SELECT * FROM seen") == [(None, 0)]


def test_a_lost_temporary_table_is_not_mistaken_for_another_of_its_name(house: House) -> None:
    write(
        house,
        "CREATE TABLE picked AS SELECT 100 AS id;",
        "-- orch: no-transaction\nCREATE TEMP TABLE picked AS SELECT 11 AS id;\nCREATE INDEX CONCURRENTLY t1_id ON t1 (id);\n"
        "INSERT INTO t1 SELECT id FROM picked;\n",
    )
    house.kill("after PostgresSession.execute", 1, "apply")
    told = house.orch("apply", code=1).output
    assert "000003_x.up.sql:4:1" in told
    assert "the temporary table is gone" in told
    assert "make it again in what is left of the file" in told
    assert rows(house, "SELECT id FROM t1") == [1]
    path = house.directory / "000003_x.up.sql"
    again = "BEGIN;\nCREATE TEMP TABLE picked AS SELECT 11 AS id;\nINSERT INTO t1 SELECT id FROM picked;\nCOMMIT;\n"
    path.write_text(path.read_text().replace("INSERT INTO t1 SELECT id FROM picked;\n", again))
    house.orch("apply")
    assert rows(house, "SELECT id FROM t1 ORDER BY id") == [1, 11]


# ---------------------------------------------------------------- procedures that commit

PROCEDURE = (
    "CREATE PROCEDURE fill(upto int, fail int) LANGUAGE plpgsql AS $$ BEGIN FOR n IN 10..upto LOOP "
    "INSERT INTO t1 VALUES (n); COMMIT; PERFORM 1 / (n - fail); END LOOP; END $$;"
)


def test_a_procedure_that_commits_can_be_called(house: House) -> None:
    write(
        house,
        PROCEDURE,
        "-- orch: no-transaction\nCALL fill(12, 0);\nDO $$ BEGIN INSERT INTO t1 VALUES (20); COMMIT; END $$;\n",
    )
    house.orch("apply")
    assert rows(house, "SELECT id FROM t1 ORDER BY id") == [1, 10, 11, 12, 20]


def test_a_call_in_a_transaction_is_told_what_to_do(house: House) -> None:
    write(house, PROCEDURE, "SELECT 1;\nCALL fill(12, 0);")
    assert "begin the file with: -- orch: no-transaction" in house.orch("apply", code=1).output
    assert rows(house, "SELECT id FROM t1") == [1]
    write(house, PROCEDURE, "-- orch: no-transaction\nSELECT 1;\nCALL fill(12, 0);")
    house.orch("apply")


def test_a_procedure_that_failed_half_way_is_in_doubt_and_not_called_again(house: House) -> None:
    write(house, PROCEDURE, "-- orch: no-transaction\nCALL fill(12, 11);")
    assert "division by zero" in house.orch("apply", code=1).output
    assert rows(house, "SELECT id FROM t1 ORDER BY id") == [1, 10, 11]
    assert "is in doubt at statement 1 of version 3" in house.orch("apply", code=5).output
    assert rows(house, "SELECT id FROM t1 ORDER BY id") == [1, 10, 11]


def test_a_call_that_never_began_is_not_in_doubt(house: House) -> None:
    write(house, PROCEDURE, "-- orch: no-transaction\nCALL fil(12, 0);")
    assert "fil(" in house.orch("apply", code=1).output
    write(house, PROCEDURE, "-- orch: no-transaction\nCALL fill(10, 0);")
    house.orch("apply")
    assert rows(house, "SELECT id FROM t1 ORDER BY id") == [1, 10]


def test_a_call_that_was_killed_is_in_doubt(house: House) -> None:
    write(house, PROCEDURE, "-- orch: no-transaction\nCALL fill(12, 0);")
    house.kill("after PostgresSession.execute", 1, "apply")
    assert "is in doubt" in house.orch("apply", code=5).output


# ---------------------------------------------------------------- the lock

GIVES_AWAY = (
    "CREATE FUNCTION tidy() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_unlock_all(); END $$;"
)


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ("INSERT INTO t1 VALUES (10);\nSELECT tidy();", False),
        ("-- orch: no-transaction\nINSERT INTO t1 VALUES (10);\nSELECT tidy();", True),
        ("BEGIN;\nINSERT INTO t1 VALUES (10);\nSELECT tidy();\nCOMMIT;\nSELECT 1;", False),
    ],
)
def test_a_file_that_gives_the_lock_away_is_stopped(house: House, text: str, effect: bool) -> None:
    write(house, GIVES_AWAY, text)
    told = house.orch("apply", code=1).output
    assert "000003_x.up.sql" in told
    assert "gave the migration lock away" in told
    assert "remove pg_advisory_unlock_all()" in told
    assert (rows(house, "SELECT id FROM t1 ORDER BY id") == [1, 10]) is effect
    assert house.status()["applied"] == [1, 2]


def test_nothing_stands_alone_without_the_lock(house: House) -> None:
    write(house, GIVES_AWAY, "-- orch: no-transaction\nCALL pg_temp.p();\nCREATE INDEX CONCURRENTLY t1_id ON t1 (id);")
    path = house.directory / "000003_x.up.sql"
    text = "DO $$ BEGIN PERFORM tidy(); COMMIT; END $$;"
    path.write_text(path.read_text().replace("CALL pg_temp.p();", text))
    assert "gave the migration lock away" in house.orch("apply", code=1).output
    assert rows(house, "SELECT to_regclass('t1_id')") == [None]


# ---------------------------------------------------------------- the current schema moves


def test_a_schema_with_the_name_of_the_login_does_not_hide_the_history(house: House) -> None:
    (login,) = rows(house, "SELECT current_user")
    write(house, f'CREATE SCHEMA "{login}";', "CREATE TABLE here (id int);")
    house.orch("apply", "--only", house.id, "--to", "2")
    assert house.status()["pending"] == [3]
    with house.golang._locked(None):
        assert "waiting for the lock" not in house.orch("status").output
    house.orch("apply")
    assert house.status()["applied"] == [1, 2, 3]
    assert house.estate.sql("db", "SELECT table_schema FROM information_schema.tables WHERE table_name = 'orch_history'") == [
        ("public",)
    ]  # fmt: skip
    assert house.estate.sql("db", "SELECT * FROM public.schema_migrations") == [(3, False)]
    house.orch("rollback", house.id, "--to", "1", "--yes", "--allow-missing-down")


MOVED = "CREATE SCHEMA app;\nDO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path TO {}', current_database()); END $$;"


def test_a_search_path_of_the_database_does_not_hide_the_history(house: House) -> None:
    write(house, MOVED.format("app, public"), "CREATE TABLE here (id int);")
    house.orch("apply", "--only", house.id, "--to", "2")
    house.orch("apply")
    assert house.status()["applied"] == [1, 2, 3]
    query = "SELECT schemaname FROM pg_tables WHERE tablename IN ('here', 'orch_history') ORDER BY 1"
    assert rows(house, query) == ["app", "public"]


def test_a_search_path_without_the_schema_of_the_history_is_for_a_person(house: House) -> None:
    write(house, MOVED.format("app"), "CREATE TABLE here (id int);")
    house.orch("apply", "--only", house.id, "--to", "2")
    assert "and one in public" in house.orch("apply", code=5).output
    house.estate.sql(
        "db", "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET search_path', current_database()); END $$"
    )
    house.orch("apply")
    assert house.status()["applied"] == [1, 2, 3]


def test_golang_migrates_version_table_is_found_behind_a_new_schema(house: House) -> None:
    house.golang.up(1)
    house.estate.sql("db", "CREATE SCHEMA app")
    house.estate.sql("db", f'ALTER DATABASE "{house.estate.prefix}db" SET search_path TO app, public')
    write(house, "CREATE TABLE here (id int);")
    house.orch("apply")
    assert house.status()["applied"] == [1, 2]
    assert house.estate.sql("db", "SELECT * FROM public.schema_migrations") == [(2, False)]
    assert rows(house, "SELECT schemaname FROM pg_tables WHERE tablename = 'orch_history'") == ["public"]


def test_two_histories_elsewhere_are_not_chosen_from(house: House) -> None:
    house.orch("apply")
    house.estate.sql(
        "db", "CREATE SCHEMA other; CREATE TABLE other.orch_history (LIKE orch_history); CREATE SCHEMA app"
    )
    house.estate.sql("db", f'ALTER DATABASE "{house.estate.prefix}db" SET search_path TO app')
    told = house.orch("apply", code=5).output
    assert "other, public" in told
    assert "options=-csearch_path" in told
    assert rows(house, "SELECT to_regclass('app.orch_history')") == [None]


@pytest.mark.parametrize("first", ["own", "db"])
def test_two_applications_in_one_database_keep_their_histories(house: House, first: str) -> None:
    """Each goes by the search_path of its DSN, whichever comes first."""
    dsn = house.estate.server("postgres").split('"')[1].replace("{database}", "db")
    dsn += ("&" if "?" in dsn else "?") + "options=-csearch_path%3Dapp,public"
    house.estate.manifest(f'  - {{name: db, server: postgres}}\n  - {{name: own, engine: postgres, dsn: "{dsn}"}}\n')
    house.estate.sql("db", "CREATE SCHEMA app")
    house.estate.write("postgres-own", {"1_own.up.sql": "CREATE TABLE mine (id int);"})
    house.orch("apply", "--only", f"postgres-{first}")
    house.orch("apply")
    assert house.estate.sql("db", "SELECT schemaname, tablename FROM pg_tables WHERE tablename IN ('mine', 't1') ORDER BY 1") == [
        ("app", "mine"),
        ("public", "t1"),
    ]  # fmt: skip
    assert "Nothing to do" in house.orch("apply").output


def test_two_logins_with_schemas_of_their_own_keep_their_histories(house: House) -> None:
    house.orch("apply")
    login = house.estate.prefix + "other"
    house.estate.sql("db", f"CREATE ROLE {login} LOGIN PASSWORD 'x'; CREATE SCHEMA AUTHORIZATION {login}")
    house.estate.sql("db", "ALTER SCHEMA public RENAME TO app")
    try:
        server = house.estate.servers["postgres"]
        dsn = f"postgresql://{login}:x@127.0.0.1:{server.port}/{house.estate.prefix}db"
        told = house.estate.orch("apply", env={"ORCH_DSN_POSTGRES_DB": dsn})
        assert "1 database done" in told.text
        assert rows(house, f"SELECT id FROM {login}.t1") == [1]
    finally:
        house.estate.sql("db", f"DROP OWNED BY {login}; DROP ROLE {login}")


def test_a_history_in_a_schema_that_is_on_no_path_is_not_taken_for_ours(house: House) -> None:
    """Somebody put the old schema aside and begins a new one."""
    house.orch("apply")
    house.estate.sql("db", "ALTER SCHEMA public RENAME TO monday; CREATE SCHEMA public")
    write(house, "CREATE TABLE two (id int);")
    told = house.orch("apply", code=5).output
    assert "no history in schema public" in told
    assert "one in monday" in told
    assert rows(house, "SELECT count(*) FROM pg_tables WHERE tablename = 'two'") == [0]


# ---------------------------------------------------------------- what a file leaves behind


@pytest.mark.timing
def test_what_a_file_left_is_cleared_before_the_next_one_runs_and_undoes_nothing(house: House) -> None:
    """Its temporary table is held by another session, so that clearing it has to wait, longer than may be waited."""
    house.estate.manifest("  - {name: db, server: postgres, lock_timeout: none}\n")
    path = house.estate.root / "databases.yaml"
    slow = "options=-clock_timeout%3D300"  # of the connection itself, which clearing has
    path.write_text(path.read_text().replace("?", f"?{slow}&", 1) if "?" in path.read_text() else "")
    write(
        house,
        "CREATE TABLE log (what text);",
        "-- orch: no-transaction\nCREATE TEMP TABLE held (id int);\nSELECT pg_sleep(1.5);\nINSERT INTO log VALUES ('three');",
        "INSERT INTO log VALUES ('four');",
    )
    with house.estate.start("apply") as run, psycopg.connect(house.dsn) as other:
        query = "SELECT oid::regclass::text FROM pg_class WHERE relname = 'held'"
        deadline = time.monotonic() + 60
        while not (found := other.execute(query).fetchone()):
            assert time.monotonic() < deadline
            other.rollback()
            time.sleep(0.02)
        other.execute(f"LOCK TABLE {found[0]} IN ACCESS SHARE MODE")
        clearing = "SELECT state, wait_event_type FROM pg_stat_activity WHERE application_name LIKE 'orch/%'"
        for seen in [("active", "Lock"), ("idle", "Client"), ("active", "Lock")]:  # in vain once, then it waits again
            while seen not in house.estate.sql("db", clearing):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        other.rollback()
        run.communicate(timeout=60)
    house.orch("apply")
    assert rows(house, "SELECT what FROM log ORDER BY what") == ["four", "three"]
    assert house.status()["problems"] == []


def test_nothing_of_another_branch_is_gone_on_from(house: House) -> None:
    """Somebody with other files stopped half way after our plan was made: what he ran is not what we would go on from."""
    ours = "-- orch: no-transaction\nCREATE TABLE a1 (id int);\nCREATE TABLE a2 (id int);\nCREATE TABLE a3 (id int);"
    theirs = "-- orch: no-transaction\nCREATE TABLE b1 (id int);\nCREATE TABLE b2 (id int);\nSELECT 1/0;"
    write(house, ours)
    house.orch("plan", "-o", "plan.json")
    write(house, theirs)
    house.orch("apply", code=1)
    write(house, ours)
    told = house.orch("apply", "plan.json", code=5).output
    assert "what ran is not what is in" in told
    assert rows(house, "SELECT tablename::text FROM pg_tables WHERE tablename ~ '^[ab][0-9]$' ORDER BY 1") == [
        "b1",
        "b2",
    ]
