"""What is being migrated now is told as that: by status and plan, by those who wait for it, and by unlock."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from estate import Estate
from house import House
from test_cli import on_a_terminal

LOCK = "SELECT pg_advisory_xact_lock(4711);"
PATIENT = {"lock_timeout": "none", "lock_try": "none"}


@contextmanager
def _gate(dsn: str) -> Iterator[None]:
    """Keep files with LOCK in them from coming to their end."""
    with psycopg.connect(dsn, application_name="gate") as connection:
        connection.execute(LOCK)
        yield
        connection.commit()


def _until_running(estate: Estate, name: str) -> None:
    deadline = time.monotonic() + 60
    while not estate.sql(name, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def _in_the_middle(estate: Estate) -> Iterator[subprocess.Popen[str]]:
    """Be where orch apply is in the middle of a file with LOCK in it; at the end it goes on, and has ended."""
    with ExitStack() as stack:
        with _gate(estate.servers["postgres"].dsn(estate.prefix + "a")):
            run = stack.enter_context(estate.start("apply"))
            _until_running(estate, "a")
            yield run
        run.communicate(timeout=60)


def test_a_transactional_file_that_runs_is_seen(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();"}, **PATIENT)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"2_x.up.sql": f"CREATE TABLE t2 (); {LOCK}"})
    with _in_the_middle(pg_estate) as run:
        seen = pg_estate.status("postgres-a")
        text = pg_estate.orch("status").stdout
        plan = pg_estate.orch("plan").stdout
        refused = pg_estate.orch("unlock", "a", code=6)
    assert run.returncode == 0
    assert seen["problems"] == []
    assert "orch/" in seen["running"]["by"]
    age = datetime.now(UTC) - datetime.fromisoformat(seen["running"]["since"])
    assert timedelta() < age < timedelta(minutes=5)
    assert re.search(r"^postgres-a .* running since \d\d:\d\d:\d\d UTC$", text, re.MULTILINE)
    assert re.search(r"being migrated now, by orch/.*backend \d+ .*since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)
    assert "1 running." in text
    assert "being migrated now" in plan
    assert "orch unlock postgres-a --terminate" in refused.stderr
    assert "Type" not in refused.stderr, "it does not ask before it refuses"
    assert pg_estate.status("postgres-a")["running"] is None


def test_golang_migrate_in_the_middle_of_a_file_is_running(pg_house: House) -> None:
    house = pg_house
    house.golang.up(1)
    with house.golang._locked(None):
        house.golang._set_version(2, dirty=True)
        told = house.estate.orch("status").stdout
        plan = house.estate.orch("plan").stdout
        refused = house.estate.orch("rollback", "db", "--steps", "1", "--yes", code=5).stderr
        house.golang._set_version(2, dirty=False)
    assert "running" in told.split("\n")[1]
    for text in (told, plan):
        assert "being migrated now" in text
        assert "stopped half way" not in text
    assert "being migrated now" in refused


def test_golang_migrate_on_mongodb_in_the_middle_of_a_file_is_running(mongo_house: House) -> None:
    """As far as can be told: its process is on this machine; of one elsewhere its lock is told."""
    house = mongo_house
    house.golang.up(1)
    locks = house.estate.mongo("db")["migrate_advisory_lock"]
    with house.golang._locked(None):
        house.golang._set_version(2, dirty=True)
        living = subprocess.Popen(["sleep", "60"])
        locks.update_one({}, {"$set": {"hostname": socket.gethostname(), "pid": living.pid}})
        told = house.estate.orch("status").stdout
        refused = house.estate.orch("unlock", "db", "--yes", code=6).stderr
        living.kill()
        living.wait()
        after = house.estate.orch("status", code=5).stdout
        house.golang._set_version(2, dirty=False)
    assert "stopped half way" not in told
    assert "being migrated now, by golang-migrate" in told
    assert "--terminate" in refused
    assert "stopped half way" in after
    assert f"pid {living.pid}" in after


def test_who_waits_in_vain_for_the_lock_looks_whether_all_is_done(pg_estate: Estate) -> None:
    """Another run brings the database where this one wants it, and keeps the lock for longer."""
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();"}, **PATIENT)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"2_x.up.sql": "CREATE TABLE t2 ();"})
    pg_estate.orch("plan", "-o", "plan.json")
    pg_estate.write("postgres-a", {"3_x.up.sql": LOCK})
    with _in_the_middle(pg_estate) as run:
        told = pg_estate.orch("apply", "plan.json", "--lock-timeout", "0.5").stderr
        assert "has meanwhile done what was planned" in told
        pg_estate.orch("apply", "--lock-timeout", "0.5", code=6)  # version 3 is not done yet
    assert run.returncode == 0


def test_unlock_terminates_a_session_after_showing_it(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": f"CREATE TABLE t (); {LOCK}"}, **PATIENT)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"2_x.up.sql": f"CREATE TABLE t2 (); {LOCK}"})
    with _in_the_middle(pg_estate) as run:
        declined = on_a_terminal(pg_estate, "unlock", "a", "--terminate", typed="y\n", pause=0.1)
        assert "to end that session:y" in declined
        assert pg_estate.status("postgres-a")["running"], "only the whole word is a yes"
        told = pg_estate.orch("unlock", "a", "--terminate", "--yes").stdout
        assert re.search(r"locked by orch/.*backend \d+", told)
        assert "The session was ended" in told
        run.terminate()
    assert pg_estate.tables("a") == {"t"}
    pg_estate.orch("apply")
    assert pg_estate.tables("a") == {"t", "t2"}


def test_a_wait_for_the_lock_is_told_once(pg_house: House) -> None:
    house = pg_house
    house.orch("apply", "--only", house.id, "--to", "1")
    with house.golang._locked(None):
        told = house.orch("repair", house.id, "--mark-applied", "2", "--lock-timeout", "1.5", code=6).output
    assert told.count("waiting for the lock") == 1


@pytest.mark.timing
def test_the_live_view_names_the_statement_that_runs(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();"}, **PATIENT)
    pg_estate.orch("apply")
    pg_estate.write(
        "postgres-a", {"2_x.up.sql": f"-- orch: no-transaction\nCREATE TABLE a ();\n{LOCK}\nCREATE TABLE b ();\n"}
    )
    shown = threading.Event()

    def watch(seen: bytes) -> None:
        if b"2  2/3 SELECT pg_advisory" in seen:
            shown.set()

    with _gate(pg_estate.servers["postgres"].dsn(pg_estate.prefix + "a")):
        thread = threading.Thread(target=lambda: on_a_terminal(pg_estate, "apply", watch=watch))
        thread.start()
        assert shown.wait(60), "the statement that runs was not shown while it ran"
    thread.join(60)
    assert pg_estate.tables("a") == {"t", "a", "b"}
