"""Locks that cannot be trusted are refused, locks of tables are waited for visibly, a stalled holder writes nothing more."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from estate import SOON, Estate
from gate import closed_gate
from house import House
from kill import Ended, Forge
from pooler import pgbouncer
from schema_snapshot import difference

# ---------------------------------------------------------------- behind a pooler


def _through(house: House, port: int) -> None:
    """Let orch's DSN go through this port."""
    manifest = house.estate.root / "databases.yaml"
    manifest.write_text(manifest.read_text().replace(f":{house.estate.servers['postgres'].port}/", f":{port}/"))


@pytest.mark.timing
@pytest.mark.parametrize("size", [1, 5])
def test_a_pooler_in_transaction_mode_is_refused_and_explained(pg_house: House, size: int) -> None:
    house = pg_house
    with pgbouncer(house.estate.servers["postgres"], "transaction", size) as port:
        _through(house, port)
        assert house.status()["pending"] == [1, 2, 3, 4], "a read is harmless"
        told = house.orch("apply", code=6).output
        assert "behind a pooler in transaction mode" in told
        assert "session mode" in told
        assert house.tables() == []
        held = house.estate.sql("db", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
                                "(SELECT oid FROM pg_database WHERE datname = current_database())")  # fmt: skip
        assert held == [(0,)], "a lock was left behind in the pool"


@pytest.mark.timing
def test_a_pooler_in_session_mode_is_fine(pg_house: House) -> None:
    house = pg_house
    with pgbouncer(house.estate.servers["postgres"], "session", 5) as port:
        _through(house, port)
        house.orch("apply")
        assert house.tables() == [1, 2, 3, 4]
        house.orch("rollback", house.id, "--to", "0", "--yes")
        assert house.version_row() == (-1, False)


# ---------------------------------------------------------------- locks of tables


@contextmanager
def _table_locked(house: House, seconds: float | None) -> Iterator[None]:
    """Hold a lock on t1, as a long report does; for so long after somebody waits for it, or until the block ends."""
    over = threading.Event()
    ready = threading.Event()

    def hold() -> None:
        with psycopg.connect(house.dsn) as connection:
            connection.execute("LOCK TABLE t1 IN ACCESS SHARE MODE")
            ready.set()
            waiting = "SELECT count(*) FROM pg_locks WHERE relation = 't1'::regclass AND NOT granted"
            while seconds is not None and connection.execute(waiting).fetchone() == (0,) and not over.is_set():
                time.sleep(0.02)
            over.wait(seconds)

    holder = threading.Thread(target=hold)
    holder.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        over.set()
        holder.join()


def _altering(house: House, header: str = "") -> None:
    house.orch("apply", "--only", house.id, "--to", "1")
    for name in [name for name in house.files if name.startswith(("000003", "000004"))]:
        (house.directory / name).unlink()
    house.estate.write(
        house.id, {"000002_t2.up.sql": header + "ALTER TABLE t1 ADD COLUMN n int;\nCREATE TABLE t2 (id int);"}
    )


@pytest.mark.timing
def test_ddl_behind_a_foreign_lock_is_tried_again_visibly(pg_house: House) -> None:
    house = pg_house
    house.estate.manifest("  - {name: db, server: postgres, lock_timeout: 200ms}\n")
    _altering(house)
    with _table_locked(house, 0.5):
        told = house.orch("apply", patches=SOON).output
    assert "2 tried again in" in told
    assert "lock timeout" in told
    assert house.tables() == [1, 2]
    assert len(house.attempts()) == 2, "what passed by itself is no failed try"


@pytest.mark.timing
def test_ddl_that_never_gets_its_lock_fails_with_a_hint(pg_house: House) -> None:
    house = pg_house
    house.estate.manifest("  - {name: db, server: postgres, lock_timeout: 50ms}\n")
    _altering(house)
    with _table_locked(house, None):
        told = house.orch("apply", code=1, patches=SOON).output
    assert told.count("tried again in") == 5
    assert "raise lock_timeout" not in told
    assert "000002_t2.up.sql:1" in told
    assert house.version_row() == (1, False)
    house.orch("apply")
    assert house.tables() == [1, 2]


@pytest.mark.timing
def test_the_header_of_a_file_sets_its_own_lock_timeout(pg_house: House) -> None:
    house = pg_house
    house.estate.manifest("  - {name: db, server: postgres, lock_timeout: 50ms}\n")
    _altering(house, "-- orch: lock_timeout=30s\n")
    with _table_locked(house, 1.0):
        told = house.orch("apply", patches=SOON).output
    assert told.count("tried again") < 5, "of the manifest it would have been tried six times in half a second"
    assert house.tables() == [1, 2]


@pytest.mark.timing
def test_the_statement_timeout_of_a_header(pg_house: House) -> None:
    house = pg_house
    house.estate.write(house.id, {"000002_t2.up.sql": "-- orch: statement_timeout=100ms\nSELECT pg_sleep(60);"})
    began = time.monotonic()
    told = house.orch("apply", code=1).output
    assert "statement_timeout" in told
    assert time.monotonic() - began < 40
    assert house.version_row() == (1, False)


# ---------------------------------------------------------------- holders that live, die, or sleep


@pytest.mark.timing
def test_the_backend_of_a_killed_run_is_waited_for(pg_house: House) -> None:
    """The server goes on with the file; the next run waits for its end, tells so, and does not race it."""
    house = pg_house
    house.estate.write(
        house.id, {"000002_t2.up.sql": "CREATE TABLE t2 (id int); SELECT pg_sleep(2); INSERT INTO t2 VALUES (2);"}
    )
    house.kill("sent to PostgreSQL", 2, "apply")
    told = house.orch("apply").output
    assert "waiting for the lock, held by orch/" in told
    assert house.estate.sql("db", "SELECT * FROM t2") == [(2,)]
    assert house.tables() == [1, 2, 3, 4]


def test_waiting_for_another_run_is_bounded_and_told(pg_house: House) -> None:
    house = pg_house
    house.orch("apply", "--only", house.id, "--to", "1")
    with house.golang._locked(None):
        told = house.orch("apply", "--lock-timeout", "0.6", code=6).output
    assert "waiting for the lock, held by" in told
    assert "backend" in told
    assert "waited 0.6 s" in told


SHORT = {"orchestrator.engines.mongo.lease.LEASE_SECONDS": 2, "orchestrator.engines.mongo.lease.HEARTBEAT_EVERY": 0.3}
STALLS = [
    ("before Commands.run", 5),
    ("before MongoSession.commit", 4),
    pytest.param("before MongoSession.execute", 3, marks=pytest.mark.soak),
    pytest.param("before MongoSession._renew", 6, marks=pytest.mark.soak),
]


@pytest.mark.timing
@pytest.mark.parametrize(("label", "number"), STALLS)
def test_a_holder_that_slept_through_its_lease_writes_nothing_more(
    mongo_house: House, forge: Forge, label: str, number: int
) -> None:
    """Stopped for longer than its lease, it is overtaken; woken up, it finds that out before its next write."""
    house = mongo_house
    ended: list[Ended] = []

    def sleeper() -> None:
        ended.append(
            forge.run(
                ["apply"], house.estate.root, house.estate.env, kill_at=number, label=label, stop=True, patches=SHORT
            )
        )

    thread = threading.Thread(target=sleeper)
    thread.start()
    locks = house.estate.mongo("db")["migrate_advisory_lock"]
    pid, deadline = 0, time.monotonic() + 60
    while not (pid and _stopped(pid)):
        assert time.monotonic() < deadline, ended
        document = locks.find_one({}) or {}
        pid = document.get("pid", 0)
        time.sleep(0.02)
    try:
        house.estate.orch(
            "apply"
        )  # a process of its own: it waits until the lease is over, and no transaction is in the way
        assert house.tables() == [1, 2, 3, 4]
        before, history = house.schema_snapshot(), house.estate.orch("history", house.id, "--output", "json").json
    finally:
        os.kill(pid, signal.SIGCONT)
    thread.join(60)
    # One whose transaction was ended tries again, and finds all done.
    assert ended[0].code in ((0, 5, 6) if label == "before Commands.run" else (5, 6)), ended[0].output
    assert not (text := difference(before, house.schema_snapshot())), text
    assert house.estate.orch("history", house.id, "--output", "json").json == history


def _stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


@pytest.mark.timing
@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_a_file_that_is_being_run_is_not_taken_for_one_that_was_cut_off(estate: Estate, engine: str) -> None:
    first = {"postgres": "CREATE TABLE a ();", "mongo": '[{"create": "a"}]'}
    ending = "sql" if engine == "postgres" else "json"
    estate.add(engine, "a", {f"1_a.up.{ending}": first[engine]})
    estate.orch("apply")
    with ExitStack() as held:
        if engine == "postgres":
            gate = held.enter_context(closed_gate(estate.servers["postgres"]))
            slow = f"-- orch: no-transaction\nCREATE TABLE b ();\n{gate.sql}\n"
        else:  # collMod waits for the end of a transaction that has written to the collection
            session = held.enter_context(estate.client().start_session())
            held.enter_context(session.start_transaction())
            estate.mongo("a").a.insert_one({}, session=session)
            slow = '[{"create": "b"}, {"collMod": "a", "validationLevel": "off"}]'
        estate.write(f"{engine}-a", {f"2_b.up.{ending}": slow})
        running = estate.start("apply")
        deadline = time.monotonic() + 60
        while "being migrated now" not in (told := estate.orch("status", code=None).stdout):
            assert time.monotonic() < deadline, told
        assert "orch/" in told
        if engine == "postgres":  # MongoDB's lock does not tell whether who is named in it lives
            assert "cut off" not in told
            assert estate.status("postgres-a")["problems"] == []
        assert "being migrated now" in estate.orch("plan").stdout
    assert running.wait(60) == 0
    assert "being migrated" not in estate.orch("status").stdout
