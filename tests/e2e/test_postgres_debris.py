"""Statements that stand alone and were cut off: what is there is looked at, debris is cleared, nobody else's is touched."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from estate import SOON
from house import House


@pytest.fixture
def house(new_house: House) -> House:
    """One database at version 1, with files that the test writes after it."""
    new_house.orch("apply")
    return new_house


def write(house: House, text: str) -> None:
    house.estate.write(house.id, {"000002_x.up.sql": text})


def valid(house: House, index: str) -> bool | None:
    found = house.estate.sql("db", "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", index)
    return found[0][0] if found else None


def spoil(house: House, index: str) -> None:
    """Leave an index as a CONCURRENTLY that was cut off leaves it."""
    house.estate.sql("db", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)", index)


@contextlib.contextmanager
def open_transaction(house: House) -> Iterator[psycopg.Connection]:
    """Hold a lock on a row of t1, as a program that forgot to commit does."""
    with psycopg.connect(house.dsn) as connection:
        connection.execute("UPDATE t1 SET id = id")
        yield connection
        connection.rollback()


@pytest.mark.parametrize(
    "other", ["CREATE INDEX i ON other (id)", "CREATE INDEX i ON t1 (id)", "CREATE UNIQUE INDEX i ON other (id)"]
)
@pytest.mark.parametrize("whole", [True, False], ids=["valid", "INVALID"])
def test_another_index_of_that_name_is_not_taken_for_ours(house: House, other: str, whole: bool) -> None:
    write(house, "CREATE UNIQUE INDEX CONCURRENTLY i ON t1 (id);")
    house.kill("before PostgresSession.execute", 1, "apply")
    house.estate.sql("db", "CREATE TABLE other (id int)")
    house.estate.sql("db", other)
    if not whole:
        spoil(house, "i")
    assert "already exists" in house.orch("apply", code=1).output
    assert valid(house, "i") is whole, "it is not ours to drop"
    house.estate.sql("db", "DROP INDEX i")
    house.orch("apply")
    assert valid(house, "i")


def test_an_index_is_looked_for_beside_its_table(house: House) -> None:
    """Odd names, and a schema that is not the first of the search_path."""
    house.estate.sql("db", 'CREATE SCHEMA "Odd.One"; CREATE TABLE "Odd.One"."T ab.le" (id int)')
    write(
        house,
        'SET search_path TO public, "Odd.One";\nCREATE INDEX CONCURRENTLY "My ""Ix.1" ON "T ab.le" (id);\n'
        'CREATE INDEX CONCURRENTLY MixedCase ON "Odd.One" . "T ab.le" (id);\nDROP INDEX CONCURRENTLY "Odd.One".mixedcase;',
    )
    for number in (1, 2, 3):
        told = house.kill("after PostgresSession.execute", 1, "apply").output
        assert number == 1 or "is there and valid" in told
    assert "is gone" in house.orch("apply").output
    assert valid(house, '"Odd.One"."My ""Ix.1"')


@pytest.mark.parametrize("clause", ["", "IF NOT EXISTS "])
def test_an_invalid_index_of_golang_migrate_is_built_anew(house: House, clause: str) -> None:
    house.estate.sql("db", "CREATE INDEX i ON t1 (id)")
    spoil(house, "i")
    write(house, f"CREATE INDEX CONCURRENTLY {clause}i ON t1 (id);")
    house.orch("apply")
    assert valid(house, "i")


@pytest.mark.timing
def test_an_index_that_another_session_is_building_is_left_to_it(house: House) -> None:
    write(house, "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t1 (id);")
    errors: list[BaseException] = []

    def build() -> None:
        try:
            house.estate.sql("db", "CREATE INDEX CONCURRENTLY i ON t1 (id)")
        except psycopg.Error as error:
            errors.append(error)

    with open_transaction(house):
        builder = threading.Thread(target=build)
        builder.start()
        deadline = time.monotonic() + 60
        while valid(house, "i") is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        told = house.orch("apply", code=1, patches=SOON).output
        assert "may be building it" in told
        assert told.count("tried again in") == 5
        assert house.version_row() == (1, False)
    builder.join(20)
    assert not errors
    node = house.estate.sql("db", "SELECT relfilenode FROM pg_class WHERE relname = 'i'")
    house.orch("apply")
    assert house.estate.sql("db", "SELECT relfilenode FROM pg_class WHERE relname = 'i'") == node


def test_debris_of_reindex_goes_and_nothing_else(house: House) -> None:
    house.estate.sql("db", "CREATE INDEX i ON t1 (id); CREATE INDEX j ON t1 (id); CREATE TABLE t9 (id int)")
    debris = ["i_ccnew", "i_ccold1", "j_ccnew", "k_ccnew"]
    for name in debris:
        house.estate.sql("db", f"CREATE INDEX {name} ON {'t9' if name[0] == 'k' else 't1'} (id)")
        spoil(house, name)
    house.estate.sql("db", "CREATE INDEX i_ccnew2 ON t1 (id)")  # somebody's own
    write(house, "REINDEX INDEX CONCURRENTLY i;")
    house.kill("before PostgresSession.execute", 1, "apply")
    house.orch("apply")
    assert [valid(house, name) for name in debris] == [None, None, False, False]
    assert valid(house, "i_ccnew2")
    house.estate.write(house.id, {"000003_x.up.sql": "REINDEX (CONCURRENTLY) TABLE t1;"})
    house.orch("apply")
    assert [valid(house, name) for name in debris] == [None, None, None, False]


@pytest.mark.parametrize("point", ["before", "after", "pending"])
def test_a_partition_that_was_half_detached(house: House, point: str) -> None:
    house.estate.sql(
        "db", "CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)"
    )
    write(house, "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;")
    house.kill(f"{'after' if point == 'after' else 'before'} PostgresSession.execute", 1, "apply")
    if point == "pending":
        with psycopg.connect(house.dsn) as reader:
            reader.execute("SELECT * FROM p")
            with contextlib.suppress(psycopg.Error), psycopg.connect(house.dsn, autocommit=True) as other:
                other.execute("SET lock_timeout = 200")
                other.execute("ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY")
            reader.rollback()
        assert house.estate.sql("db", "SELECT inhdetachpending FROM pg_inherits") == [(True,)]
    house.orch("apply")
    assert house.estate.sql("db", "SELECT * FROM pg_inherits") == []
    assert house.status()["applied"] == [1, 2]


@pytest.mark.timing
def test_concurrently_behind_an_open_transaction_fails_in_bounded_time_and_converges(house: House) -> None:
    write(house, "-- orch: lock_timeout=300ms\nCREATE INDEX CONCURRENTLY i ON t1 (id);")
    with open_transaction(house):
        began = time.monotonic()
        told = house.orch("apply", code=1, patches=SOON).output
        assert time.monotonic() - began < 60
        assert told.count("tried again in") == 5
        assert "000002_x.up.sql:2:1" in told
        assert "raise lock_timeout" not in told
    house.orch("apply")
    assert valid(house, "i")
    assert house.status()["applied"] == [1, 2]


@pytest.mark.timing
def test_a_detach_that_was_finished_on_its_way_out_is_done(house: House) -> None:
    """It ran into its time limit while a reader went on; clearing up afterwards finishes it."""
    house.estate.sql(
        "db", "CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)"
    )
    write(house, "-- orch: statement_timeout=1s\nALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;")
    with psycopg.connect(house.dsn) as reader, house.estate.start("apply") as run:
        reader.execute("SELECT * FROM p")
        waits = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE p DETACH%' AND wait_event_type = 'Lock'"
        deadline = time.monotonic() + 60
        for seen in (True, False):  # it waits, and no longer does: its time is up
            while bool(house.estate.sql("db", waits)) is not seen:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        reader.rollback()
        run.communicate(timeout=60)
    house.orch("apply")
    assert house.estate.sql("db", "SELECT * FROM pg_inherits") == []
    assert house.status()["applied"] == [1, 2]
    assert house.status()["problems"] == []


@pytest.mark.timing
def test_a_second_interrupt_does_not_wait_for_what_it_interrupts(house: House) -> None:
    write(house, "-- orch: lock_timeout=none\nCREATE INDEX CONCURRENTLY i ON t1 (id);")
    with open_transaction(house):
        with house.estate.start("apply") as run:
            waiting = (
                "SELECT 1 FROM pg_stat_activity WHERE query ILIKE 'CREATE INDEX CONC%' AND wait_event_type = 'Lock'"
            )
            deadline = time.monotonic() + 60
            while not house.estate.sql("db", waiting):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            run.send_signal(signal.SIGINT)
            assert run.stderr
            assert any("Press Ctrl-C again" in line for line in run.stderr), "it says what a second one does"
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=60)
        assert run.returncode == 130
        (problem,) = house.status()["problems"]
        assert problem["hint"] == "continue: orch apply"
    house.orch("apply")
    assert valid(house, "i")
