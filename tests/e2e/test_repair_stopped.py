"""Repairs of several databases run at the same time, each under its own lock, and a signal stops them in order."""

from __future__ import annotations

import signal

from estate import Estate
from golang import GolangPostgres

FILES = {"000001_a.up.sql": "SELECT 1;\n", "000001_a.down.sql": "SELECT 1;\n"}


def recorded(estate: Estate, name: str) -> int:
    rows = estate.sql(name, "SELECT count(*) FROM orch_history WHERE reason = 'comment'")
    return int(rows[0][0])


def test_a_lock_that_is_held_stops_one_database_and_no_other(pg_estate: Estate) -> None:
    for name in ("a", "b"):
        pg_estate.add("postgres", name, FILES)
    pg_estate.orch("apply")
    for path in (pg_estate.root / "migrations").rglob("*.up.sql"):
        path.write_text("-- a comment\n" + path.read_text())
    repair = ("repair", "*", "--accept", "1", "--reason", "comment")
    place = pg_estate.prefix + "a"
    other = GolangPostgres(pg_estate.servers["postgres"].dsn(place), place, pg_estate.root)
    with other.connection:
        other.lock()
        run = pg_estate.start(*repair)
        assert run.stderr is not None
        first = run.stderr.readline()  # it waits: the other database needs no longer than that
        assert first.startswith("postgres-a: waiting for the lock, held by"), first
        while not recorded(pg_estate, "b"):
            pass
        run.send_signal(signal.SIGINT)
        out, told = run.communicate(timeout=60)
        assert run.returncode == 130, told
        assert "postgres-b: recorded that the current content of" in out
        assert "postgres-a: nothing was recorded: the run was stopped" in told and "Traceback" not in told
        assert (recorded(pg_estate, "a"), recorded(pg_estate, "b")) == (0, 1)

        refused = pg_estate.orch("repair", "a", "--accept", "1", "--lock-timeout", "0", code=6)
        assert "error: postgres-a" in refused.stderr and recorded(pg_estate, "a") == 0
        json = pg_estate.orch("repair", "a", "--accept", "1", "--lock-timeout", "0", "--output", "json", code=6).json
        assert json["recorded"] == [] and json["errors"][0]["kind"] == "locked"
        other.unlock()
    assert "postgres-a: recorded" in pg_estate.orch(*repair[:1], "a", *repair[2:]).stdout
    pg_estate.orch("status")
