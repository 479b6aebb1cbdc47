"""What `risks:` of the manifest refuses, on real servers: for each database, in files of any kind, and with no way around it."""

from __future__ import annotations

from estate import Estate
from test_risks import DROPS, at_a_terminal, declare, losing

__all__ = ["losing"]


def test_no_way_of_writing_it_gets_around_a_refusal(losing: Estate) -> None:
    declare(losing, "{loses-data: refuse}")
    for text in (
        "CREATE TEMP TABLE t (i int);\nDROP TABLE public.t;",
        "CREATE TABLE IF NOT EXISTS t (a int);\nDROP TABLE t;",
        "/*\n-- orch: allow PG102 hidden in a comment\n*/\nALTER TABLE t DROP COLUMN b;",
        "SELECT '\n-- orch: allow PG102 hidden in a text\n';\nALTER TABLE t DROP COLUMN b;",
        "-- orch: allow PG101 another code\nALTER TABLE t DROP COLUMN b;",
        "-- orch: allow PG102 ...\nALTER TABLE t DROP COLUMN b;",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DELETE FROM t';\nSELECT f();",
        "CREATE VIEW v AS SELECT * FROM t;\nDELETE FROM v;",
        "-- orch: no-transaction\nSELECT 1;\nALTER TABLE t DROP COLUMN b;",
    ):
        losing.write("postgres-a", {"2_b.up.sql": text})
        for arguments in (["apply", "-y"], ["plan"]):
            assert "loses-data: refuse" in losing.orch(*arguments, code=5).stderr, text
    assert losing.version_row("a") == [(1, False)]
    assert losing.sql("a", "SELECT count(*) FROM information_schema.columns WHERE table_name = 't'") == [(2,)]


def test_one_database_refuses_what_another_is_asked_about_and_nothing_runs_on_either(pg_estate: Estate) -> None:
    files = {"1_a.up.sql": "CREATE TABLE t (a int, b int);"}
    pg_estate.add("postgres", "a", files)
    pg_estate.add("postgres", "b", files)
    pg_estate.orch("apply")
    for name in ("a", "b"):
        pg_estate.write(f"postgres-{name}", {"2_b.up.sql": DROPS})
    declare(pg_estate, "{loses-data: allow}", "{loses-data: refuse}")
    refused = pg_estate.orch("apply", "--yes", code=5).stderr
    assert "to postgres-a: nothing was changed" in refused and "to postgres-a, postgres-b" not in refused
    assert pg_estate.version_row("a") == pg_estate.version_row("b") == [(1, False)]
    pg_estate.orch("apply", "--only", "b")  # what the other says is not its matter
    pg_estate.write("postgres-a", {"2_b.up.sql": f"-- orch: allow PG102 the column was never filled\n{DROPS}"})
    pg_estate.orch("apply")
    assert pg_estate.version_row("a") == pg_estate.version_row("b") == [(2, False)]


def test_rollback_and_plan_down_are_not_refused_and_redo_is_before_it_begins(losing: Estate) -> None:
    losing.write("postgres-a", {"2_b.up.sql": DROPS, "2_b.down.sql": "ALTER TABLE t ADD b int, DROP COLUMN c;"})
    losing.orch("apply")
    declare(losing, "{loses-data: refuse}")
    assert "drops column t.c" in losing.orch("plan", "--down", "--only", "a", "--steps", "1").stdout
    assert "loses-data: refuse" in losing.orch("redo", "a", "--yes", code=5).stderr
    assert losing.version_row("a") == [(2, False)], "nothing was rolled back"
    losing.write(
        "postgres-a", {"2_b.up.sql": "ALTER TABLE t ADD COLUMN c int;", "2_b.down.sql": "ALTER TABLE t DROP c;"}
    )
    losing.orch("redo", "a", "--yes")
    losing.orch("rollback", "a", "--steps", "1", "--yes")
    assert losing.version_row("a") == [(1, False)]


def test_the_rest_of_a_file_that_stopped_is_judged_with_its_permissions(losing: Estate) -> None:
    text = "-- orch: no-transaction\n{}CREATE TABLE n (i int);\nSELECT 1 / 0;\nALTER TABLE t DROP COLUMN b;\n"
    losing.write("postgres-a", {"2_b.up.sql": text.format("")})
    losing.orch("apply", code=1)
    declare(losing, "{loses-data: refuse}")
    mended = text.replace("1 / 0", "1")
    losing.write("postgres-a", {"2_b.up.sql": mended.format("")})
    assert "loses-data: refuse" in losing.orch("apply", "--yes", code=5).stderr
    losing.write("postgres-a", {"2_b.up.sql": mended.format("-- orch: allow PG102 never filled\n")})
    losing.orch("apply")
    assert losing.version_row("a") == [(2, False)]


def test_only_the_whole_word_is_a_yes(losing: Estate) -> None:
    for typed in ("y\n", "yes please\n", "\n"):
        code, _ = at_a_terminal(losing, "apply", typed=typed)
        assert code == 130
    assert losing.version_row("a") == [(1, False)]
    code, seen = at_a_terminal(losing, "apply", typed=" YES \n")
    assert code == 0, seen


def test_a_refusal_holds_for_mongodb_commands_one_by_one(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "a", {"1_a.up.json": '[{"create": "x"}, {"create": "y"}]'})
    mongo_estate.orch("apply")
    declare(mongo_estate, "{loses-data: refuse}")
    allowed = '{"drop": "x", "comment": {"orch": {"allow": {"MG101": "empty since May"}}}}'
    mongo_estate.write("mongo-a", {"2_b.up.json": f'[{allowed}, {{"drop": "y"}}]'})
    refused = mongo_estate.orch("apply", "--yes", code=5).stderr
    assert "drops collection y" in refused and "drops collection x" not in refused
    mongo_estate.write("mongo-a", {"2_b.up.json": f"[{allowed}]"})
    mongo_estate.orch("apply")
