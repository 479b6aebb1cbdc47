"""A file that runs statement by statement behaves as in one psql session, also where a later run goes on with it."""

# ruff: noqa: E501 - a file of SQL is easier to read in few lines

from __future__ import annotations

import psycopg
import pytest
from house import House
from test_postgres_files import beside, psql, rows, write


@pytest.fixture
def house(new_house: House) -> House:
    """One database, with files that the test writes after the first."""
    return new_house


CIC = "CREATE INDEX CONCURRENTLY t1_id ON t1 (id);\n"
PLACES = "SELECT n.nspname || '.' || relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relname ~ '^z' ORDER BY 1"
SEEN = "SELECT what FROM public.seen ORDER BY n"
BEFORE = (
    "CREATE SCHEMA app; CREATE TABLE public.seen (n serial, what text); GRANT ALL ON SCHEMA app, public TO PUBLIC;"
    "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC;"
    "CREATE FUNCTION public.move(path text) RETURNS void LANGUAGE plpgsql AS "
    "$$ BEGIN PERFORM set_config('search_path', path, false); END $$;"
)


def told(what: str) -> str:
    return f"INSERT INTO public.seen (what) SELECT {what};\n"


FILES = {
    "set": "SET search_path TO app;\n" + CIC.replace("ON t1", "ON public.t1") + "CREATE TABLE z (i int);\n",
    "set local outside of a block": "SET LOCAL search_path = app;\n" + CIC + "CREATE TABLE z (i int);\n",
    "set local in its block": "BEGIN;\nSET LOCAL search_path = app;\nCREATE TABLE z (i int);\nCOMMIT;\n" + CIC + "CREATE TABLE z2 ();\n",
    "set_config": "SELECT set_config('search_path', 'app', false);\nCREATE TABLE z ();\n" + CIC.replace("ON t1", "ON public.t1"),
    "set_config for the transaction": "SELECT set_config('search_path', 'app', true);\nCREATE TABLE z ();\n" + CIC,
    "a function": "SELECT move('app, public');\nCREATE TABLE z ();\n" + CIC + "CREATE TABLE z2 ();\n",
    "a DO block": "DO $$ BEGIN PERFORM move('app, public'); END $$;\nCREATE TABLE z ();\n" + CIC,
    "reset": "SET search_path = app;\nRESET search_path;\nCREATE TABLE z ();\n" + CIC,
    "reset all": "SELECT move('app');\nRESET ALL;\nCREATE TABLE z ();\n" + CIC,
    "a setting of another kind": "SET work_mem = '7MB';\nSET my.own = 'x';\nSELECT 1;\n" + CIC
    + told("current_setting('work_mem') || current_setting('my.own')"),
    "lock_timeout": "SET lock_timeout = '7s';\n" + CIC + told("current_setting('lock_timeout')"),
    "synchronous_commit": "SET synchronous_commit = off;\n" + CIC + told("current_setting('synchronous_commit')"),
    "row_security": "SET row_security = off;\nSELECT 1;\n" + CIC + told("current_setting('row_security')"),
    "session_replication_role": "SET session_replication_role = replica;\n" + CIC + told("current_setting('session_replication_role')"),
    "isolation": "SET default_transaction_isolation = serializable;\n" + CIC + told("current_setting('transaction_isolation')"),
    "role": "SET ROLE :role;\n" + told("current_user = session_user") + "RESET ROLE;\n" + CIC + told("current_user = session_user"),
    "role without rights on our tables": CIC + "SET ROLE :role;\nCREATE TABLE app.z (i int);\n" + told("current_user <> session_user")
    + "BEGIN;\nSET LOCAL search_path = app;\nCREATE TABLE z2 (i int);\nCOMMIT;\n" + told("current_user <> session_user"),
    "session authorization": CIC + "SET SESSION AUTHORIZATION :role;\n" + told("session_user = ':role'") + "CREATE TABLE app.z ();\n"
    + told("session_user = ':role' AND current_user = ':role'") + "RESET SESSION AUTHORIZATION;\nCREATE TABLE app.z2 ();\n",
    "temporary": "CREATE TEMP TABLE picked AS SELECT 7 AS id;\n" + CIC + "INSERT INTO t1 SELECT id FROM picked;\nDISCARD TEMP;\n"
    + told("to_regclass('picked')::text"),
    "prepared": "PREPARE p AS INSERT INTO t1 VALUES (8);\n" + CIC + "EXECUTE p;\nDEALLOCATE p;\n",
    "cursor": "DECLARE c CURSOR WITH HOLD FOR SELECT 1;\n" + CIC + told("count(*)::text FROM pg_cursors") + "FETCH c;\nCLOSE c;\n",
    "advisory lock": "SELECT pg_advisory_lock(4711);\n" + CIC
    + told("count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711"),
    "listen": "LISTEN here;\n" + CIC + told("pg_listening_channels()"),
    "a deferred trigger": "SET search_path = app, public;\nCREATE TABLE z (i int);\nCREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN INSERT INTO seen (what) VALUES (current_setting('search_path') || (current_user = session_user)); RETURN NULL; END $$;\n"
    "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON z DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();\n"
    + CIC + "INSERT INTO z VALUES (1);\n",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_behaves_as_in_one_psql_session(house: House, name: str) -> None:
    role = f"{house.estate.prefix}r"
    text = FILES[name].replace(":role", role)
    with psycopg.connect(house.estate.servers["postgres"].dsn("postgres"), autocommit=True) as server:
        server.execute(f'CREATE ROLE "{role}"')
        try:
            write(house, BEFORE, "-- orch: no-transaction\n" + text, "CREATE TABLE z9 (i int);\n")
            house.orch("apply")
            said = psql(house, BEFORE, text, "CREATE TABLE z9 (i int);\n")
            assert "ERROR" not in said
            for query in (PLACES, SEEN, "SELECT id FROM public.t1 ORDER BY id"):
                assert rows(house, query) == beside(house, query)
        finally:
            for name in ("db", "beside"):
                with psycopg.connect(
                    house.estate.servers["postgres"].dsn(house.estate.prefix + name), autocommit=True
                ) as own:
                    own.execute(f'DROP OWNED BY "{role}" CASCADE')
            server.execute(f'DROP ROLE "{role}"')


@pytest.mark.parametrize(
    "text",
    ["LOCK TABLE t1;\n", "SAVEPOINT s;\n", "DECLARE c CURSOR FOR SELECT 1;\n", "ROLLBACK TO s;\n", "RELEASE s;\n"],
)
def test_what_needs_a_block_is_refused_as_by_psql(house: House, text: str) -> None:
    write(house, "-- orch: no-transaction\nSELECT 1;\n" + text)
    assert (
        "SQLSTATE" in (told := house.orch("apply", code=1).output) or "can only be used in transaction blocks" in told
    )
    assert "can only be used in transaction blocks" in psql(house, "SELECT 1;\n" + text)


# ---------------------------------------------------------------- a later run goes on

MOVES = {
    "a function": "SELECT move('app, public');\n",
    "a function in a block": "BEGIN;\nSELECT move('app, public');\nSET LOCAL search_path = public;\nCOMMIT;\n",
    "set": "SET search_path = app, public;\n",
    "reset by a function": "SET search_path = app;\nSELECT public.move('public');\n",
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize(
    "middle", ["INSERT INTO t1 VALUES (2), ({n});\n", "CREATE UNIQUE INDEX CONCURRENTLY t1_u ON {t} (id);\n"]
)
def test_a_later_run_goes_on_in_the_same_schema(house: House, move: str, middle: str) -> None:
    table = "t1" if "INSERT" in middle else "public.seen"
    broken = middle.format(n=1, t=table).replace("(id)", "(what)")
    text = "-- orch: no-transaction\n" + MOVES[move] + broken + "CREATE TABLE z (i int);\n"
    fill = "INSERT INTO public.seen (what) VALUES ('a'), ('a');"
    write(house, BEFORE + fill, text)
    house.orch("apply", code=1)
    house.estate.sql("db", "DELETE FROM public.seen")
    write(house, BEFORE + fill, text.replace("(1)", "(3)"))
    house.orch("apply")
    psql(house, BEFORE, MOVES[move] + "CREATE TABLE z (i int);\n")
    assert rows(house, PLACES) == beside(house, PLACES)


@pytest.mark.parametrize("label", ["after PostgresSession.commit", "before PostgresSession.commit"])
@pytest.mark.parametrize("number", [2, 3])
def test_a_run_that_was_killed_goes_on_in_the_same_schema(house: House, label: str, number: int) -> None:
    write(house, BEFORE)
    house.orch("apply")
    write(
        house,
        BEFORE,
        "-- orch: no-transaction\nSELECT move('app, public');\nINSERT INTO t1 VALUES (2);\nCREATE TABLE z ();\n",
    )
    house.kill(label, number, "apply")
    house.orch("apply")
    assert rows(house, PLACES) == ["app.z"]


def test_a_limit_of_the_manifest_that_was_raised_holds_for_what_is_left(house: House) -> None:
    text = (
        "-- orch: no-transaction\nSELECT 1;\nINSERT INTO t1 VALUES (1);\n"
        + "SELECT current_setting('lock_timeout') AS l INTO z;\n"
    )
    write(house, text)
    house.orch("apply", code=1)
    write(house, text.replace("no-transaction", "no-transaction\n-- orch: lock_timeout=3s").replace("(1)", "(3)"))
    house.orch("apply")
    assert rows(house, "SELECT l FROM z") == ["3s"]


def test_what_a_file_has_set_does_not_reach_the_next(house: House) -> None:
    write(
        house,
        BEFORE,
        "-- orch: no-transaction\nSELECT move('app, public');\nSET my.own = 'x';\nSELECT 1;\n",
        "CREATE TABLE z ();\n",
    )
    house.orch("apply")
    assert rows(house, PLACES) == ["public.z"]
