"""`orch squash --snapshot`: what a scratch database holds, instead of the statements of the files."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
from estate import Estate
from house import House

from orchestrator.embedded import Server

FILES: dict[str, str | bytes] = {
    "1_a.up.sql": "CREATE SCHEMA app;\nCREATE TYPE app.mood AS ENUM ('sad');\n"
    "CREATE TABLE a (id serial PRIMARY KEY, m app.mood, n numeric CHECK (n > 0), t text DEFAULT E'a\\nb');\n"
    "COMMENT ON TABLE a IS 'the first';",
    "2_b.up.sql": "INSERT INTO a (m, n, t) VALUES ('sad', 1, E'x\n\\\\restrict y\n--\n;'), ('sad', 2, '$1');\n"
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;\n"
    "CREATE TRIGGER g BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f();\n",
    "3_c.up.sql": "CREATE TABLE gone ();\nDROP TABLE gone;\nALTER TYPE app.mood RENAME VALUE 'sad' TO 'glad';\n"
    "CREATE VIEW v AS SELECT m, sum(n) FROM a GROUP BY m;\nCREATE MATERIALIZED VIEW w AS SELECT * FROM v;\n"
    "GRANT SELECT ON v TO PUBLIC;",
    "4_d.up.sql": "CREATE TABLE d ();",
}
DOWN = {"1": "DROP TABLE a; DROP SCHEMA app CASCADE;", "2": "DROP FUNCTION f CASCADE;", "3": "DROP VIEW v CASCADE;"}
FILES |= {f"{n}_{'abcd'[int(n) - 1]}.down.sql": text for n, text in {**DOWN, "4": "DROP TABLE d;"}.items()}


def test_a_snapshot_makes_what_the_files_made(pg_estate: Estate, postgres: Server) -> None:
    estate = pg_estate
    estate.add("postgres", "a", FILES)
    estate.orch("apply")
    estate.orch("squash", "a", "--to", "3", "--snapshot")
    folder = estate.root / "migrations" / "postgres-a" / "schema"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["3_squashed.down.sql", "3_squashed.up.sql", "4_d.down.sql", "4_d.up.sql"]
    text = (folder / "3_squashed.up.sql").read_text()
    assert text.startswith("-- orch: replaces 1-3\n")
    assert "gone" not in text, "only what is left is in it"
    assert "orch_history" not in text
    assert "schema_migrations" not in text
    assert "Nothing to do" in estate.orch("apply").text, "where the versions are applied it counts as applied"

    # A new database gets the same schema and rows, by orch and in a scratch database.
    estate.env["ORCH_DSN_POSTGRES_A"] = postgres.dsn(estate.prefix + "new")
    estate.orch("apply")
    estate.orch("verify")
    del estate.env["ORCH_DSN_POSTGRES_A"]
    for query in (
        "SELECT id, m::text, n, t FROM a ORDER BY id",
        "SELECT * FROM w",
        "SELECT nextval('a_id_seq')",
        "SELECT obj_description('a'::regclass), pg_get_viewdef('v'), has_table_privilege('public', 'v', 'SELECT')",
        "SELECT c.relname, c.relkind::text, a.attname, format_type(atttypid, atttypmod) FROM pg_class c "
        "JOIN pg_attribute a ON attrelid = c.oid JOIN pg_namespace n ON n.oid = relnamespace WHERE attnum > 0 "
        "AND nspname IN ('public', 'app') AND relname NOT IN ('orch_history', 'schema_migrations') "
        "AND relname !~ '^(orch_history|schema_migrations)' ORDER BY 1, 3",
    ):
        assert estate.sql("new", query) == estate.sql("a", query), query
    assert estate.sql("new", "SELECT current_schema()") == [("public",)]


def test_golang_migrate_runs_a_snapshot(pg_house: House) -> None:
    house = pg_house
    house.estate.orch("squash", "db", "--to", "3", "--snapshot")
    house.golang.up()
    assert (house.tables(), house.version_row()) == ([1, 2, 3, 4], (4, False))
    assert "Nothing to do" in house.estate.orch("apply").text or house.status()["applied"][-1] == 4


def test_what_cannot_be_a_snapshot_is_told(estate: Estate, tmp_path: Path) -> None:
    estate.add("mongo", "m", {f"{n}_c.up.json": f'[{{"create": "c{n}"}}]' for n in (1, 2)})
    estate.add("postgres", "p", {f"{n}_c.up.sql": f"CREATE TABLE c{n} ();" for n in (1, 2)})
    before = sorted(path.name for path in estate.root.rglob("*.up.*"))
    assert "no snapshot of MongoDB" in estate.orch("squash", "m", "--to", "2", "--snapshot", code=2).stderr
    old = tmp_path / "bin" / "pg_dump"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.1'\n")
    old.chmod(0o755)
    path = f"{old.parent}{os.pathsep}{os.environ['PATH']}"
    run = estate.orch(
        "squash", "p", "--to", "2", "--snapshot", "--dry-run", env={"PATH": path}
    )  # the one of the wheel serves
    assert sorted(path.name for path in estate.root.rglob("*.up.*")) == before
    with psycopg.connect(estate.servers["postgres"].dsn("postgres")) as connection:
        query = "SELECT datname FROM pg_database WHERE datname LIKE %s"
        left = connection.execute(query, [f"orch_clone%\\_{run.pid}\\_%"]).fetchall()
    assert not left, "the scratch database is dropped"
