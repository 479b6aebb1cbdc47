"""A database whose tables are where those of its server usually are: one message takes the lock, and reads what is under it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from house import House
from pooler import pgbouncer

from orchestrator.embedded import Server
from orchestrator.engines.base import Limits
from orchestrator.engines.postgres.engine import Postgres
from orchestrator.engines.postgres.names import lock_key
from orchestrator.errors import LockError, StatementError
from orchestrator.model import Attempt, CreateOptions, Direction, LockHolder, Statement, Target, VersionRow
from orchestrator.secret import Secret

FILE = (Statement("SELECT 1", "SELECT 1", 0, 1, atomic=True),)


@pytest.fixture
def engine() -> Iterator[Postgres]:
    made = Postgres("tester", "run")
    yield made
    made.close()


@pytest.fixture
def targets(postgres: Server, engine: Postgres) -> Iterator[list[Target]]:
    """Two databases of one server; the engine has read the first, which has both tables."""
    names = [f"onemessage_{uuid4().hex[:8]}" for _ in range(2)]
    found = [
        Target(f"postgres-{name}", "postgres", Secret(postgres.dsn(name)), name, "here", "server") for name in names
    ]
    for one in found:
        engine.create(one, CreateOptions())
    record(engine, found[0], 1)
    with engine.connect(found[0]) as session:
        session.read_history()
    yield found
    engine.close()
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        for name in names:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def nobody(holder: LockHolder) -> None:
    raise AssertionError(holder)


def attempt(version: int) -> Attempt:
    return Attempt(version, 1, "a", Direction.UP, "c", applied=1, total=1, done=True)


def record(engine: Postgres, target: Target, version: int) -> list[str]:
    """Record one migration under the lock, and return the first line of each message that was sent for that."""
    with engine.connect(target) as session, tempfile.NamedTemporaryFile("w+") as trace:
        session.connection.pgconn.trace(trace.fileno())
        with session.lock(5, nobody):
            assert [one.version for one in session.read_history().attempts] == list(range(1, version))
            session.commit(FILE, [attempt(version)], VersionRow(version), Limits())
            assert locks(target) == [lock_key(target, "public")]
        session.connection.pgconn.untrace()
        return re.findall(r"\tF\t\d+\tQuery\t (.*)", Path(trace.name).read_text())


def locks(target: Target) -> list[int]:
    """Return the keys of the advisory locks that anybody holds in a database."""
    query = """SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND database =
        (SELECT oid FROM pg_database WHERE datname = current_database())"""
    with psycopg.connect(target.url.reveal()) as connection:
        return [row[0] for row in connection.execute(query).fetchall()]


def test_one_message_takes_the_lock_one_commits_and_one_gives_it_back(engine: Postgres, targets: list[Target]) -> None:
    first = record(engine, targets[1], 1)  # it was created just now
    again = record(engine, targets[1], 2)
    assert ["try_advisory" in first[0], "SELECT 1" in first[1], len(first)] == [True, True, 3]
    assert ["try_advisory" in again[0], "SELECT 1" in again[1], len(again)] == [True, True, 3]
    assert locks(targets[1]) == []


@pytest.mark.parametrize("where", ["elsewhere", "nowhere"])
def test_tables_that_are_not_where_they_usually_are(engine: Postgres, targets: list[Target], where: str) -> None:
    target = targets[1]
    schema = "app" if where == "elsewhere" else "public"
    with psycopg.connect(target.url.reveal(), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA app")
        if where == "elsewhere":
            connection.execute(f'ALTER DATABASE "{target.database}" SET search_path = app'.encode())
    other = Postgres("tester", "run")  # to it the database is not one that was created just now
    other._usual = engine._usual
    assert other._usual["server"].known is not None
    with other.connect(target) as session, session.lock(5, nobody):
        assert session.read_history().attempts == ()
        assert locks(target) == [lock_key(target, schema)], "the lock of another schema is held, or this one's is not"
        session.commit(FILE, [attempt(1)], VersionRow(1), Limits())
        assert session.read_history().version_row == VersionRow(1)
    assert locks(target) == []


def test_a_history_that_is_no_longer_in_the_current_schema(engine: Postgres, targets: list[Target]) -> None:
    target = targets[1]
    record(engine, target, 1)
    with psycopg.connect(target.url.reveal(), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA app")
        connection.execute(f'ALTER DATABASE "{target.database}" SET search_path = app, public'.encode())
    with engine.connect(target) as session, session.lock(5, nobody):
        assert [one.version for one in session.read_history().attempts] == [1], "what ran would run again"
        assert locks(target) == [lock_key(target, "public")]
    assert locks(target) == []


def test_a_lock_that_somebody_holds(engine: Postgres, targets: list[Target]) -> None:
    record(engine, targets[1], 1)
    key = lock_key(targets[1], "public")
    with psycopg.connect(targets[1].url.reveal(), autocommit=True) as golang:
        golang.execute("SELECT pg_advisory_lock(%s)", (key,))
        with engine.connect(targets[1]) as session:
            with pytest.raises(LockError, match="is locked by"), session.lock(0, lambda _holder: None):
                pass
            golang.execute("SELECT pg_advisory_unlock(%s)", (key,))
            with session.lock(5, nobody):
                assert locks(targets[1]) == [key]


@pytest.mark.timing
def test_nothing_is_left_in_a_pool(engine: Postgres, targets: list[Target], postgres: Server) -> None:
    record(engine, targets[1], 1)
    with pgbouncer(postgres, "transaction", 1) as port:
        url = targets[1].url.reveal().replace(f":{postgres.port}/", f":{port}/")
        through = replace(targets[1], url=Secret(url), server_key="pool")
        engine._usual["pool"] = engine._usual["server"]
        with engine.connect(through) as session, pytest.raises(LockError, match="pooler"), session.lock(5, nobody):
            pass
        assert locks(targets[1]) == []
        with psycopg.connect(through.url.reveal(), autocommit=True) as connection:
            row = connection.execute("SHOW client_connection_check_interval").fetchone()
            assert row == ("0",), "a setting of ours is left in the session of others"


def test_a_table_of_two_columns_is_no_other_set(new_house: House) -> None:
    house = new_house
    house.estate.write(
        house.id, {"000002_a.up.sql": "CREATE TABLE page (version bigint NOT NULL, body text NOT NULL);"}
    )
    house.orch("apply")
    house.estate.write(house.id, {"000003_b.up.sql": "INSERT INTO page VALUES (1, 'first');"})
    house.orch("apply")
    assert house.estate.sql("db", "SELECT * FROM page") == [(1, "first")]


def test_the_message_that_finishes_the_last_file_gives_the_lock_back(engine: Postgres, targets: list[Target]) -> None:
    record(engine, targets[1], 1)
    with engine.connect(targets[1]) as session:
        with session.lock(5, nobody):
            session.release_with_commit()
            session.commit((), [attempt(2)._replace(done=False, error="x")], None, Limits())
            assert locks(targets[1]) == [lock_key(targets[1], "public")], "the file is not finished"
            session.commit(FILE, [attempt(2)._replace(number=2)], VersionRow(2), Limits())
            assert locks(targets[1]) == []
        with session.lock(5, nobody):  # in the same session: what was said before holds no more
            assert [one.number for one in session.read_history().attempts] == [1, 1, 2]
            session.commit(FILE, [attempt(3)], VersionRow(3), Limits())
            assert locks(targets[1]) == [lock_key(targets[1], "public")]
        assert locks(targets[1]) == []


def test_a_last_file_that_fails_at_its_end_keeps_the_lock(engine: Postgres, targets: list[Target]) -> None:
    record(engine, targets[1], 1)
    texts = ("CREATE TABLE a (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)", "INSERT INTO a VALUES (1), (1)")
    failing = tuple(Statement(text, text, 0, 1, atomic=True) for text in texts)
    with engine.connect(targets[1]) as session:
        with session.lock(5, nobody):
            session.release_with_commit()
            with pytest.raises(StatementError):
                session.commit(failing, [attempt(2)], VersionRow(2), Limits())
            assert locks(targets[1]) == [lock_key(targets[1], "public")]
            assert [one.version for one in session.read_history().attempts] == [1]
        assert locks(targets[1]) == []


def test_each_of_several_files_runs_under_the_lock(new_house: House) -> None:
    house = new_house
    count = (
        "INSERT INTO seen SELECT {}, count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid {});"
    )
    files = {n: count.format(n, "FROM pg_database WHERE datname = current_database()") for n in (6, 7, 8, 9)}
    house.estate.manifest("  - {name: db, server: postgres, drift: warn}\n")
    house.estate.write(house.id, {"000005_seen.up.sql": "CREATE TABLE seen (file int, locks int);"})
    house.orch("apply")
    # The schema snapshot is written after the last file, and the lock is held for that too.
    snapshots = house.estate.sql(
        "db", "SELECT relname FROM pg_class WHERE relname LIKE 'orch%snapshot%' AND relkind = 'r'"
    )
    noting = files[9].replace("9,", "10,")
    house.estate.sql(
        "db",
        f"CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {noting} RETURN NEW; END $$; "
        f"CREATE TRIGGER note BEFORE INSERT ON {snapshots[0][0]} FOR EACH ROW EXECUTE FUNCTION note()",
    )
    house.estate.write(house.id, {f"00000{n}_x.up.sql": files[n] for n in (6, 7)})
    house.orch("apply")
    house.estate.manifest("  - {name: db, server: postgres}\n")
    house.estate.write(
        house.id, {"000008_x.up.sql": files[8], "000009_x.up.sql": f"-- orch: no-transaction\n{files[9]}"}
    )
    house.orch("apply")
    assert house.estate.sql("db", "SELECT * FROM seen ORDER BY file") == [(n, 1) for n in (6, 7, 8, 9, 10)]
