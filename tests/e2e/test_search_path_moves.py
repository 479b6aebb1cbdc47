"""A search_path that a file gives to the database or to a role hides no history: nothing runs twice."""

from __future__ import annotations

import json

import pytest
from estate import Estate

PATH = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path TO app', current_database()); END $$"
ONCE = "CREATE SCHEMA app; CREATE TABLE public.once (id int);"


def _set_aside_by_golang_migrate(estate: Estate) -> None:
    estate.orch("apply")
    estate.sql("a", f"DROP TABLE orch_history; {PATH}")


def _given_to_another_owner(estate: Estate) -> None:
    estate.orch("apply")
    owner = f"{estate.prefix}owner"
    estate.sql("a", f"CREATE ROLE {owner}; ALTER TABLE orch_history OWNER TO {owner}")
    estate.sql("a", f"ALTER TABLE schema_migrations OWNER TO {owner}; {PATH}")


def _with_another_role(estate: Estate) -> None:
    owner, database = f"{estate.prefix}owner", f"{estate.prefix}a"
    estate.orch("apply")
    estate.sql("a", f"CREATE ROLE {owner}; GRANT USAGE ON SCHEMA public, app TO {owner}; {PATH}")
    estate.sql(
        "a", f"DO $$ BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE {database} SET role = {owner}', user); END $$"
    )


@pytest.mark.parametrize("moved", [_set_aside_by_golang_migrate, _given_to_another_owner, _with_another_role])
def test_a_moved_search_path_stops_the_next_run(pg_estate: Estate, moved: object) -> None:
    pg_estate.add("postgres", "a", {"1_a.up.sql": ONCE, "1_a.down.sql": "", "2_b.up.sql": "CREATE TABLE t (id int);"})
    owner = f"{pg_estate.prefix}owner"
    try:
        moved(pg_estate)  # type: ignore[operator]
        for command in ("status", "plan", "apply"):
            told = pg_estate.orch(command, code=5).text
            assert "no history in schema app" in told
            assert "one in public" in told
        assert pg_estate.sql("a", "SELECT to_regclass('app.schema_migrations'), to_regclass('app.orch_history')") == [
            (None, None)
        ]
        named = told.partition("as it is: ")[2].split()[0]
        manifest = pg_estate.root / "databases.yaml"
        text = (
            manifest.read_text().replace("{database}?", "{database}").replace("{database}", "{database}?" + named + "&")
        )
        manifest.write_text(text.replace('&"', '"'))
        if moved is _with_another_role:  # which may not read the tables
            return
        assert json.loads(pg_estate.orch("status", "--output", "json").stdout)["databases"][0]["version"] == 2
    finally:
        pg_estate.drop()
        import psycopg

        with psycopg.connect(pg_estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP ROLE IF EXISTS {owner}")


def test_a_schema_for_each_tenant_is_not_taken_for_a_move(pg_estate: Estate) -> None:
    """The history of another login, in a schema that this one may not see, is no reason to stop."""
    pg_estate.add("postgres", "a", {"1_a.up.sql": "CREATE TABLE t (id int);"})
    pg_estate.orch("apply")
    one, server = f"{pg_estate.prefix}one", pg_estate.servers["postgres"]
    pg_estate.sql("a", f"CREATE ROLE {one} LOGIN PASSWORD 'x'; CREATE SCHEMA {one} AUTHORIZATION {one}")
    pg_estate.sql("a", f"ALTER ROLE {one} SET search_path TO {one}")
    try:
        dsn = f"postgresql://{one}:x@127.0.0.1:{server.port}/{pg_estate.prefix}a"
        assert "1 database done" in pg_estate.orch("apply", env={"ORCH_DSN_POSTGRES_A": dsn}).text
        assert pg_estate.sql("a", f"SELECT count(*) FROM {one}.orch_history") == [(1,)]
    finally:
        pg_estate.sql("a", f"DROP OWNED BY {one}; DROP ROLE {one}")
