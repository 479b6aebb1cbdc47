"""`orch redo`: the newest migrations down and up again while they are being written."""

from __future__ import annotations

from estate import Estate, Files
from transcript import on_a_terminal

FILES: Files = {
    "1_a.up.sql": "CREATE TABLE a (id int);",
    "1_a.down.sql": "DROP TABLE a;",
    "2_b.up.sql": "CREATE TABLE b (one int);",
    "2_b.down.sql": "DROP TABLE b;",
}
EDITED: Files = {"2_b.up.sql": "CREATE TABLE b (one int, two int);"}


def test_an_edited_newest_migration_runs_again(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", FILES)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", EDITED)
    pg_estate.write("postgres-a", {"3_c.up.sql": "CREATE TABLE c ();", "3_c.down.sql": "DROP TABLE c;"})
    refused = pg_estate.orch("apply", code=5).stderr
    assert "orch redo postgres-a" in refused
    pg_estate.orch("redo", "a", code=2)  # nobody can be asked
    done = pg_estate.orch("redo", "a", "--yes").stderr
    assert "2_b.up.sql was edited after it was applied" in done
    assert pg_estate.sql("a", "SELECT count(*) FROM information_schema.columns WHERE table_name = 'b'") == [(2,)]
    assert pg_estate.version_row("a") == [(2, False)]  # 3 is not part of what was redone
    pg_estate.orch("apply")


def test_two_edited_migrations_and_no_more(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", FILES)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"1_a.up.sql": "CREATE TABLE a (id bigint);"})
    pg_estate.orch("redo", "a", "--yes", code=5)  # what is below the newest was edited, and would stay
    pg_estate.write("postgres-a", EDITED)
    pg_estate.orch("redo", "a", "--steps", "2", "--yes")
    assert "up to date" in pg_estate.orch("status").stdout
    pg_estate.orch("redo", "a", "--steps", "3", "--yes", code=2)


def test_what_depends_on_it_is_asked_first(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", FILES)
    pg_estate.add("postgres", "b", FILES, depends_on=["a"])
    pg_estate.orch("apply")
    assert "postgres-b depends on it" in pg_estate.orch("redo", "a", "--yes", code=5).stderr
    pg_estate.orch("redo", "a", "--yes", "--ignore-dependents")
    assert "names 2 databases" in pg_estate.orch("redo", "*", "--yes", code=2).stderr


def test_a_person_is_asked_and_a_failing_file_leaves_the_version_below(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", FILES)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"2_b.up.sql": "CREATE TABLE b (one nothing);"})
    person = {name: value for name, value in pg_estate.env.items() if name != "CI"}
    code, screen = on_a_terminal(["redo", "a"], pg_estate.root, person, "no\n")
    assert code == 130
    assert "- 2 b" in screen
    assert pg_estate.version_row("a") == [(2, False)]
    assert "nothing" in pg_estate.orch("redo", "a", "--yes", code=1).stderr
    assert pg_estate.version_row("a") == [(1, False)]
    pg_estate.write("postgres-a", EDITED)
    pg_estate.orch("apply")
