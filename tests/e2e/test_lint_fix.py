"""`orch lint --fix` on real databases: what it splits goes up and down as before, and what was applied is never renumbered."""

from __future__ import annotations

from pathlib import Path

from estate import Estate

FIRST = "CREATE TABLE orders (id int);\n"
UP = "ALTER TABLE orders ADD COLUMN state text;\nCREATE INDEX CONCURRENTLY by_state ON orders (state);\n"
DOWN = "DROP INDEX by_state;\nALTER TABLE orders DROP COLUMN state;\n"


def names(estate: Estate) -> list[str]:
    return sorted(path.name for path in Path(estate.root / "migrations/postgres-a/schema").iterdir())


def test_the_newest_file_is_split_where_nobody_has_run_it(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.add("postgres", "a", {"0001_a.up.sql": FIRST, "0001_a.down.sql": "DROP TABLE orders;\n"})
    estate.orch("apply")
    estate.write("postgres-a", {"0002_state.up.sql": UP, "0002_state.down.sql": DOWN})
    before = names(estate)
    # Whether a database has run it is asked of the server: one that does not answer leaves the file as it is.
    nowhere = {"ORCH_DSN_POSTGRES_A": "postgres://a:b@127.0.0.1:1/a"}
    refused = estate.orch("lint", "a", "--fix", code=None, env=nowhere)
    assert "cannot be asked whether it has run" in refused.stderr and names(estate) == before
    fixed = estate.orch("lint", "a", "--fix")
    assert "is now 0002_state.up.sql, 0003_state_by_state.up.sql" in fixed.stderr
    assert "PG405" not in fixed.stdout
    assert names(estate) == [
        *before,
        "0003_state_by_state.down.sql",
        "0003_state_by_state.up.sql",
    ]
    estate.orch("apply")
    assert estate.sql("a", "SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_state'::regclass") == [(True,)]
    estate.orch("rollback", "a", "--steps", "1", "--yes")
    assert estate.sql("a", "SELECT to_regclass('by_state')") == [(None,)]
    estate.orch("rollback", "a", "--steps", "1", "--yes")
    assert estate.version_row("a") == [(1, False)]
    # Applied, or not the newest: left, with the reason.
    estate.write("postgres-a", {"0004_more.up.sql": UP.replace("state", "more")})
    estate.orch("apply")
    before = names(estate)
    assert "postgres-a has run it" in estate.orch("lint", "a", "--fix").stderr
    estate.write("postgres-a", {"0005_last.up.sql": "SELECT 1;\n"})
    assert "only the newest migration is split" in estate.orch("lint", "a", "--fix").stderr
    assert names(estate) == [*before, "0005_last.up.sql"]
