"""What every engine owes to the executor: one suite, run unchanged on every server that the tests know."""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from bench import DONE, FILES, NO_LIMITS, Bench

from orchestrator.engines.base import Effect, Engine, Limits, Session
from orchestrator.errors import (
    ConnectError,
    ConnectionLostError,
    DatabaseMissingError,
    LockError,
    OrchError,
    StatementError,
)
from orchestrator.model import (
    Attempt,
    CreateOptions,
    Direction,
    History,
    LockHolder,
    Origin,
    Statement,
    Target,
    VersionRow,
)


def history(session: Session) -> tuple[tuple[Attempt, ...], VersionRow | None]:
    found = session.read_history()
    return found.attempts, found.version_row


def never(holder: LockHolder) -> None:
    raise AssertionError(f"had to wait for {holder}")


# ---------------------------------------------------------------- databases and connections


def test_a_missing_database_is_told_and_not_made(bench: Bench) -> None:
    try:
        with bench.engine().connect(bench.target) as session:
            assert session.read_history()._replace(place="") == History(exists=False)
    except DatabaseMissingError as error:
        assert bench.target.database in error.what
    assert bench.estate.snapshot() == {}


def test_create_and_a_quicker_creator(bench: Bench) -> None:
    assert bench.engine().create(bench.target, CreateOptions()) is bench.dialect.creates
    assert bench.engine("run2").create(bench.target, CreateOptions()) is False


def test_a_database_that_this_engine_missed_and_made_can_be_used(bench: Bench) -> None:
    engine = bench.engine()
    try:
        with engine.connect(bench.target) as session:
            session.read_history()
    except DatabaseMissingError:
        engine.create(bench.target, CreateOptions())
    with engine.connect(bench.target) as session:
        session.commit((), [DONE], VersionRow(1), NO_LIMITS)
        assert session.read_history().version_row == VersionRow(1)


def test_reading_a_pristine_database_creates_nothing(bench: Bench) -> None:
    engine = bench.ready()
    before = bench.estate.snapshot()
    with engine.connect(bench.target) as session:
        found = session.read_history()
        # MongoDB has a database by a collection in it.
        assert found._replace(place="") == History(unrecorded=found.unrecorded)
        assert session.holder() is None
    assert bench.estate.snapshot() == before


def test_a_wrong_password_is_refused_for_good_and_not_repeated(bench: Bench) -> None:
    if bench.kind == FILES:
        pytest.skip("a file has no server and no login")
    bench.ready()
    wrong = "not-" + secrets.token_hex(8)
    target = bench.target_with(bench.server.dsn("{database}").replace(bench.server.password, wrong))
    with pytest.raises(ConnectError) as caught, bench.engine("run2").connect(target) as session:
        session.read_history()
    assert caught.value.transient is False
    assert wrong not in f"{caught.value.what} {caught.value.detail} {caught.value.hint}"
    assert "user and password" in caught.value.hint


def test_a_closed_port_may_open_later(bench: Bench) -> None:
    if bench.kind == FILES:
        pytest.skip("a file has no server and no login")
    dsn = bench.server.dsn("{database}").replace(f":{bench.server.port}", ":1")
    if bench.engine_name == "mongo":
        dsn += "&serverSelectionTimeoutMS=300"
    with pytest.raises(ConnectError) as caught, bench.engine("run2").connect(bench.target_with(dsn)) as session:
        session.read_history()
    assert caught.value.transient is True
    assert "--wait" in caught.value.hint


def test_a_broken_connection_is_told_as_such(bench: Bench) -> None:
    if bench.kind == FILES:
        pytest.skip("a file has no connection that can break")
    if bench.kind == "secantus":
        pytest.skip("SecantusDB has no failpoint to break a connection with")
    engine = bench.ready()
    with pytest.raises(ConnectionLostError), engine.connect(bench.target) as session:
        session.execute(bench.dialect.sever(session), NO_LIMITS)


@pytest.mark.timing
def test_no_connection_stays_open(bench: Bench) -> None:
    engine = bench.ready()
    with pytest.raises(ZeroDivisionError), engine.connect(bench.target) as session:
        session.commit((), [DONE], VersionRow(1), NO_LIMITS)
        raise ZeroDivisionError
    deadline = time.monotonic() + 60
    while bench.dialect.connections() and time.monotonic() < deadline:
        time.sleep(0.02)  # the server's process needs a moment to go
    assert bench.dialect.connections() == 0


# ---------------------------------------------------------------- the schema


def test_a_picture_is_of_the_schema_alone(bench: Bench) -> None:
    engine = bench.ready()
    with engine.connect(bench.target) as session:
        bare = session.schema_snapshot()
        assert "rows" in {schema_object.name for schema_object in bare}
        with session.lock(0, never):
            session.commit([bench.statement(engine, bench.dialect.fill)], [DONE], VersionRow(1), NO_LIMITS)
        assert session.schema_snapshot() == bare, "neither a row nor our own records"
        session.execute(bench.statement(engine, bench.dialect.alone[0]), NO_LIMITS)
        assert set(bare) < set(session.schema_snapshot())


# ---------------------------------------------------------------- the lock


def test_the_lock_excludes_others_and_tells_its_holder(bench: Bench) -> None:
    bench.ready()
    waited: list[LockHolder] = []
    with (
        bench.engine("first").connect(bench.target) as one,
        bench.engine("second").connect(bench.target) as two,
    ):
        with one.lock(0, never):
            with pytest.raises(LockError) as caught, two.lock(0.3, waited.append):
                pass
            held = two.holder()
        assert "orch/first tester@here" in caught.value.what
        assert held is not None
        assert "orch/first" in held.description
        assert held.since is not None
        assert abs(datetime.now(UTC) - held.since) < timedelta(minutes=5)
        assert waited
        assert "orch/first" in waited[0].description
        with two.lock(0, never):
            assert one.holder() is not None
        assert one.holder() is None


def test_a_waiter_gets_the_lock_when_it_is_given_back(bench: Bench) -> None:
    bench.ready()
    waits, got = threading.Event(), threading.Event()

    def wait() -> None:
        with bench.engine("second").connect(bench.target) as session, session.lock(30, lambda _: waits.set()):
            got.set()

    thread = threading.Thread(target=wait)
    with bench.engine("first").connect(bench.target) as session, session.lock(0, never):
        thread.start()
        assert waits.wait(20)
        assert not got.is_set()
    thread.join(20)
    assert got.is_set()


@pytest.mark.parametrize("how", ["an error of ours", "a refused statement"])
def test_the_lock_is_given_back_whatever_happens(bench: Bench, how: str) -> None:
    engine = bench.ready()
    with (
        engine.connect(bench.target) as session,
        pytest.raises((ZeroDivisionError, StatementError)),
        session.lock(0, never),
    ):
        if how == "an error of ours":
            raise ZeroDivisionError
        session.execute(bench.statement(engine, bench.dialect.refused[0]), NO_LIMITS)
    with bench.engine("second").connect(bench.target) as session, session.lock(0, never):
        pass


def test_the_lock_of_one_database_is_not_that_of_another(bench: Bench) -> None:
    engine = bench.ready()
    other = bench.target_with(bench.server.dsn("{database}"), "y")
    engine.create(other, CreateOptions())
    with (
        engine.connect(bench.target) as one,
        one.lock(0, never),
        bench.engine("second").connect(other) as two,
        two.lock(0, never),
    ):
        pass


# ---------------------------------------------------------------- commit


def test_commit_does_everything_together(anywhere: Any) -> None:
    engine = anywhere.ready()
    fill = anywhere.statement(engine, anywhere.dialect.fill)
    with engine.connect(anywhere.target) as session, session.lock(0, never):
        assert session.commits(fill), "the tests' servers have transactions"
        session.commit([fill, fill], [DONE], VersionRow(1), NO_LIMITS)
        attempts, version_row = history(session)
    assert anywhere.dialect.rows() == 2
    assert [(r.version, r.done) for r in attempts] == [(1, True)]
    assert version_row == VersionRow(1)


@pytest.mark.parametrize("before", [False, True], ids=["first", "later"])
def test_a_refused_statement_leaves_no_effect_no_record_no_version_row(anywhere: Any, before: bool) -> None:
    engine = anywhere.ready()
    fill, refused = (anywhere.statement(engine, text) for text in (anywhere.dialect.fill, anywhere.dialect.refused[0]))
    with engine.connect(anywhere.target) as session, session.lock(0, never):
        if before:
            session.commit((), [DONE], VersionRow(1), NO_LIMITS)
        seen = history(session)
        with pytest.raises(StatementError) as caught:
            session.commit([fill, refused, fill], [DONE._replace(version=2)], VersionRow(2), NO_LIMITS)
        assert history(session) == seen
        assert anywhere.dialect.rows() == 0
        assert caught.value.statement == refused
        assert caught.value.code.split()[0] == anywhere.dialect.refused[1]
        assert caught.value.what
        session.commit([fill], [DONE._replace(version=2)], VersionRow(2), NO_LIMITS)  # the session goes on
        assert anywhere.dialect.rows() == 1


def test_several_records_in_one_commit(anywhere: Any) -> None:
    engine = anywhere.ready()
    with engine.connect(anywhere.target) as session:
        session.commit((), [DONE._replace(version=v) for v in (1, 2, 10)], VersionRow(10), NO_LIMITS)
        assert sorted(r.version for r in session.read_history().attempts) == [1, 2, 10]


FULL = Attempt(
    version=2**63 - 1,
    number=3,
    name='it\'s a "name" \\ $set {x} ; -- ชื่อ 🐘',
    direction=Direction.DOWN,
    checksum="sha256:abc",
    applied=2,
    total=5,
    in_flight=True,
    prefix="sha256:def",
    done=False,
    origin=Origin.MARKED,
    actor="o'brien@host",
    run_id="$run",
    tool="9.9",
    error="line one\nline 'two' %s $$NOW",
    reason="because; DROP TABLE rows",
    format=7,
)


@pytest.mark.parametrize("attempt", [DONE, FULL, FULL._replace(done=True, in_flight=False)])
def test_every_field_of_a_revision_comes_back(bench: Bench, attempt: Attempt) -> None:
    engine = bench.ready()
    with engine.connect(bench.target) as session:
        session.commit((), [attempt], None, NO_LIMITS)
    with engine.connect(bench.target) as session:
        (found,) = session.read_history().attempts
    times: dict[str, Any] = {"started_at": found.started_at, "finished_at": found.finished_at, "seconds": found.seconds}
    assert found.host
    assert found == attempt._replace(**times, role=found.role, host=found.host)
    assert found.started_at is not None
    assert abs(datetime.now(UTC) - found.started_at) < timedelta(minutes=5)
    assert (found.finished_at is not None) is (found.seconds is not None) is attempt.done
    if found.finished_at and found.seconds is not None:
        assert found.finished_at >= found.started_at
        assert found.seconds >= 0


def test_progress_is_the_same_record_and_keeps_its_beginning(bench: Bench) -> None:
    engine = bench.ready()
    half = DONE._replace(applied=1, total=2, done=False, in_flight=True)
    with engine.connect(bench.target) as session:
        session.commit((), [half], None, NO_LIMITS)
        (first,) = session.read_history().attempts
        session.commit((), [half._replace(applied=2, in_flight=False, done=True)], None, NO_LIMITS)
        (second,) = session.read_history().attempts
    assert (second.applied, second.in_flight, second.done) == (2, False, True)
    assert second.started_at == first.started_at
    assert second.seconds is not None


def test_records_of_a_later_release_can_be_read(bench: Bench) -> None:
    engine = bench.ready()
    with engine.connect(bench.target) as session:
        session.commit((), [DONE], VersionRow(1), NO_LIMITS)
        bench.dialect.add_field()
        (found,) = session.read_history().attempts
    assert (found.version, found.name) == (1, "one")


def test_records_of_an_earlier_release_are_read_as_they_are_and_completed_by_the_next_writer(bench: Bench) -> None:
    engine = bench.ready()
    with engine.connect(bench.target) as session:
        session.commit((), [DONE], VersionRow(1), NO_LIMITS)
    bench.dialect.add_field()
    bench.dialect.remove_field()
    before = bench.dialect.stored()
    with engine.connect(bench.target) as session:
        assert [(r.version, r.tool, r.reason) for r in session.read_history().attempts] == [(1, "", "")]
    assert bench.dialect.stored() == before, "a reader changes nothing"
    with engine.connect(bench.target) as session:
        session.commit((), [DONE._replace(version=2, tool="2.0", reason="why")], VersionRow(2), NO_LIMITS)
        found = session.read_history().attempts
    assert sorted((r.version, r.tool, r.reason) for r in found) == [(1, "", ""), (2, "2.0", "why")]
    assert bench.dialect.stored()[0]["mood"] == "good", "what a later release wrote stays"


# ---------------------------------------------------------------- the version table


@pytest.mark.parametrize(
    ("version_row", "stored"),
    [
        (VersionRow(1), [{"version": 1, "dirty": False}]),
        (VersionRow(20240826120919, dirty=True), [{"version": 20240826120919, "dirty": True}]),
        (VersionRow(-1, dirty=True), [{"version": -1, "dirty": True}]),
        (VersionRow(None), None),
    ],
    ids=str,
)
def test_the_version_table_has_golang_migrates_form(
    anywhere: Any, version_row: VersionRow, stored: list[Any] | None
) -> None:
    engine = anywhere.ready()
    with engine.connect(anywhere.target) as session:
        session.commit((), [DONE], VersionRow(7), NO_LIMITS)
        session.commit((), [DONE], version_row, NO_LIMITS)
        assert anywhere.dialect.version_rows() == (anywhere.dialect.last_down() if stored is None else stored)
        assert session.read_history().version_row == version_row
        session.commit((), [DONE], None, NO_LIMITS)
        assert session.read_history().version_row == version_row, "no version table given: it stays"


@pytest.mark.parametrize(("version", "dirty"), [(3, False), (3, True), (-1, True)])
def test_what_golang_migrate_wrote_is_read(anywhere: Any, version: int, dirty: bool) -> None:
    engine = anywhere.ready()
    anywhere.dialect.golang_migrate_writes(version, dirty)
    with engine.connect(anywhere.target) as session:
        found = session.read_history()
        assert found._replace(place="") == History(store=False, version_row=VersionRow(version, dirty))


# ---------------------------------------------------------------- statements that stand alone


def test_execute_and_probe(anywhere: Any) -> None:
    engine = anywhere.ready()
    first, refused, unknown = (anywhere.statement(engine, text) for text in anywhere.dialect.alone)
    with engine.connect(anywhere.target) as session, session.lock(0, never):
        assert not session.commits(first)
        assert session.probe(first, NO_LIMITS)[0] is Effect.NOT_DONE
        session.execute(first, NO_LIMITS)
        assert anywhere.dialect.made()
        assert session.probe(first, NO_LIMITS)[0] is Effect.DONE
        with pytest.raises(StatementError) as caught:
            session.execute(refused, NO_LIMITS)
        assert caught.value.code.split()[0] == anywhere.dialect.alone_code
        assert caught.value.statement == refused
        effect, facts = session.probe(unknown, NO_LIMITS)
        assert effect is Effect.UNKNOWN
        assert facts


# ---------------------------------------------------------------- limits and cancelling


def in_a_thread(work: Callable[[], None]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - for the test's own thread
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


@pytest.fixture
def slow(bench: Bench) -> tuple[Engine, Statement]:
    if bench.kind == "secantus":
        pytest.skip("no statement is known that takes long on SecantusDB and can be stopped")
    engine = bench.ready()
    return engine, bench.statement(engine, bench.dialect.slow)


def test_a_statement_that_takes_longer_than_its_limit_is_ended(bench: Bench, slow: tuple[Engine, Statement]) -> None:
    engine, statement = slow
    with engine.connect(bench.target) as session:
        with pytest.raises(StatementError) as caught:
            session.execute(statement, Limits(statement_timeout=0.3))
        assert caught.value.code.split()[0] in ("57014", "50", "1317", "SQLITE_INTERRUPT")
        session.commit((), [DONE], VersionRow(1), NO_LIMITS)
        assert session.read_history().version_row == VersionRow(1)
    assert not bench.dialect.running()


@pytest.mark.timing
def test_cancel_from_another_thread_ends_the_statement_and_leaves_the_session_usable(
    bench: Bench, slow: tuple[Engine, Statement]
) -> None:
    engine, statement = slow
    with engine.connect(bench.target) as session, session.lock(0, never):
        thread, errors = in_a_thread(lambda: session.execute(statement, NO_LIMITS))
        deadline = time.monotonic() + 60
        while not bench.dialect.running():
            assert time.monotonic() < deadline, errors
            time.sleep(0.02)
        session.cancel()
        thread.join(20)
        assert not thread.is_alive()
        assert [type(error) for error in errors] == [StatementError]
        while bench.dialect.running():  # MariaDB answers a moment before its list of processes says so
            assert time.monotonic() < deadline
            time.sleep(0.02)
        session.commit((), [DONE], VersionRow(1), NO_LIMITS)  # the failure must be recorded
        assert session.read_history().version_row == VersionRow(1)


def test_cancel_of_a_session_that_does_nothing_is_harmless(bench: Bench) -> None:
    engine = bench.ready()
    with engine.connect(bench.target) as session:
        session.cancel()
        session.commit((), [DONE], VersionRow(1), NO_LIMITS)
        assert session.read_history().version_row == VersionRow(1)


# ---------------------------------------------------------------- side by side


def test_sessions_on_many_databases_at_once(bench: Bench) -> None:
    engine = bench.engine()
    targets = [bench.target_with(bench.server.dsn("{database}"), f"n{number}") for number in range(6)]

    def migrate(target: Target) -> Callable[[], None]:
        def work() -> None:
            engine.create(target, CreateOptions())
            with engine.connect(target) as session, session.lock(5, lambda _: None):
                session.commit((), [DONE], VersionRow(1), NO_LIMITS)

        return work

    threads = [in_a_thread(migrate(target)) for target in targets]
    for thread, _ in threads:
        thread.join(60)
    assert [errors for _, errors in threads] == [[]] * len(targets)
    for target in targets:
        with engine.connect(target) as session:
            assert session.read_history().version_row == VersionRow(1)


# ---------------------------------------------------------------- every error of a driver


def test_every_error_class_of_the_driver_becomes_one_of_ours(bench: Bench) -> None:
    from orchestrator.engines.mongo.errors import connecting
    from orchestrator.engines.mongo.errors import mapped as mongo_mapped
    from orchestrator.engines.postgres.errors import mapped as postgres_mapped

    def classes(base: type[Exception]) -> Iterator[type[Exception]]:
        yield base
        for sub in base.__subclasses__():
            yield from classes(sub)

    if bench.engine_name == "postgres":
        bench.ready()
        with psycopg.connect(bench.target.url.reveal(), autocommit=True) as connection:
            for cls in {*classes(psycopg.Error)}:
                with pytest.raises(OrchError), postgres_mapped(connection, bench.target):
                    raise cls("it broke")
        return
    if bench.kind == FILES:
        from orchestrator.engines.sqlite.errors import mapped as sqlite_mapped

        for cls in {*classes(sqlite3.Error), sqlite3.Warning}:
            with pytest.raises(OrchError), sqlite_mapped(bench.target):
                raise cls("it broke")
        return
    if bench.engine_name == "mysql":
        import pymysql

        from orchestrator.engines.mysql.errors import connecting as mysql_connecting
        from orchestrator.engines.mysql.errors import mapped as mysql_mapped

        for cls in {*classes(pymysql.Error), pymysql.Warning}:
            for mapping in (mysql_mapped, mysql_connecting):
                with pytest.raises(OrchError), mapping(bench.target):
                    raise cls("it broke")
        return
    import pymongo.errors

    for cls in {*classes(pymongo.errors.PyMongoError)}:
        if not cls.__module__.startswith(("pymongo.errors", "gridfs")):
            continue
        for mapping in (mongo_mapped, connecting):
            with pytest.raises(OrchError), mapping(bench.target):
                raise _made(cls)


def _made(cls: type[Exception]) -> Exception:
    import pymongo.errors

    if issubclass(cls, pymongo.errors.BulkWriteError | pymongo.errors.ClientBulkWriteException):
        return cls({"writeErrors": []}) if issubclass(cls, pymongo.errors.BulkWriteError) else cls({}, False)
    if issubclass(cls, pymongo.errors.EncryptedCollectionError):
        return cls(Exception("it broke"), {})
    return cls("it broke")
