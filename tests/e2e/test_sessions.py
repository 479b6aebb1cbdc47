"""What files do to their session that reaches less far than a reader may think is said by validate and plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import House
from test_postgres_files import write

from orchestrator.analysis.sessions import leaks, limited_effects
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File, Script


def script(text: str, name: str = "1_a.up.sql") -> Script:
    return parse_sql(File(name, Path(name), "sha256:0"), text)


DEPENDS = [
    ("SET search_path TO app, public;", "CREATE TABLE t ();", "names t without a schema"),
    ("BEGIN; SET search_path = app; COMMIT;", "-- x\nINSERT INTO t VALUES (1);", "names t without a schema"),
    ("SELECT pg_catalog.set_config('search_path', 'app', false);", "ALTER TABLE IF EXISTS t ADD a int;", "names t"),
    ("SET search_path = app;", "CREATE INDEX CONCURRENTLY i ON t (a);", "names t"),
    ("SET ROLE owner;", "CREATE TABLE public.t ();", "runs as the login"),
    ("SET SESSION AUTHORIZATION owner;", "CREATE TABLE t ();", "runs as the login"),
]
DOES_NOT = [
    ("SET search_path TO app;", "CREATE TABLE app.t ();"),
    ("SET search_path TO app;", "SET search_path TO app; CREATE TABLE t ();"),
    ("SET search_path TO app; RESET search_path;", "CREATE TABLE t ();"),
    ("SET search_path TO app; RESET ALL;", "CREATE TABLE t ();"),
    ("SET LOCAL search_path TO app;", "CREATE TABLE t ();"),
    ("SELECT set_config('search_path', 'app', true);", "CREATE TABLE t ();"),
    ("SELECT pg_catalog.set_config('search_path', '', false);", "CREATE TABLE t ();"),
    ("SET search_path TO public;", "CREATE TABLE t ();"),
    ("SET search_path TO app;", 'CREATE TABLE "App"."t" ();'),
    ("SET work_mem = '1MB';", "CREATE TABLE t ();"),
    ("SET ROLE owner; CREATE TABLE x (); RESET ROLE;", "CREATE TABLE t ();"),
    ("SET ROLE NONE;", "CREATE TABLE t ();"),
    ("COMMENT ON TABLE a IS 'SET search_path TO app';", "CREATE TABLE t ();"),
]


@pytest.mark.parametrize(("first", "second", "why"), DEPENDS)
def test_a_later_file_that_depends_on_what_an_earlier_one_set_is_named(first: str, second: str, why: str) -> None:
    (found,) = leaks([script(first), script("SELECT 1;", "2_b.up.sql"), script(second, "3_c.up.sql")])
    assert found.where.path == "1_a.up.sql"
    assert "3_c.up.sql:" in found.what
    assert why in found.what


@pytest.mark.parametrize(("first", "second"), DOES_NOT)
def test_what_does_not_depend_on_it_is_not(first: str, second: str) -> None:
    assert list(leaks([script(first), script(second, "2_b.up.sql")])) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("SET LOCAL search_path = app; SELECT 1;", "SET LOCAL has no effect outside of BEGIN … COMMIT"),
        ("CREATE TEMP TABLE x (); SELECT 1;", "a temporary object lasts as long as the session"),
        ("BEGIN; PREPARE p AS SELECT 1; COMMIT; SELECT 1;", "a prepared statement lasts"),
        ("LISTEN c; SELECT 1;", "LISTEN lasts"),
        ("SELECT pg_advisory_lock(1); SELECT 1;", "an advisory lock of the session lasts"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1; SELECT 1;", "a cursor WITH HOLD lasts"),
    ],
)
def test_what_a_run_that_goes_on_would_lack_is_named(text: str, what: str) -> None:
    (found,) = limited_effects(script(f"-- orch: no-transaction\n{text}"), set_local=True)
    assert found.where.line == 2
    assert found.what.startswith(what)


def test_set_local_of_mysql_is_for_the_session() -> None:
    text = "-- orch: no-transaction\nSET LOCAL sql_safe_updates = 0; SELECT 1;"
    assert list(limited_effects(script(text), set_local=False)) == []


def test_validate_and_plan_say_so(new_house: House) -> None:
    nothing = "-- orch: no-transaction\nSET LOCAL a.b = 1;\nSELECT 1;"
    write(new_house, "CREATE SCHEMA app; SET search_path TO app;", "CREATE TABLE t ();", nothing)
    for number in (2, 3, 4):
        (new_house.directory / f"{number:06d}_x.down.sql").write_text(
            ""
        )  # else versions without one are warned of first
    for command in ("validate", "plan"):
        told = new_house.orch(command, code=None).output
        assert "000002_x.up.sql:1: search_path is set to app for this file alone" in told
        assert "options=-csearch_path%3D<schema> into the DSN" in told
        assert "000004_x.up.sql:2: SET LOCAL has no effect" in told
