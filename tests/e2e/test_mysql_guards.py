"""A message that writes records stops before its COMMIT where a check fails, in every sql_mode that the server knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import pymysql
import pytest
from mysql_shop import Shop

from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import ask, ask_all, open_connection
from orchestrator.engines.mysql.guard import Guard
from orchestrator.engines.mysql.lock import NamedLock
from orchestrator.engines.mysql.record_writer import RecordWriter
from orchestrator.engines.mysql.records import COLUMNS, Records
from orchestrator.engines.mysql.store import Store
from orchestrator.errors import OrchError
from orchestrator.model import Attempt, Direction, Target, VersionRow
from orchestrator.secret import Secret

# Some of these only MariaDB has, some only MySQL: they are left out on the other one.
SINGLE = """
    REAL_AS_FLOAT PIPES_AS_CONCAT ANSI_QUOTES IGNORE_SPACE IGNORE_BAD_TABLE_OPTIONS ONLY_FULL_GROUP_BY NO_UNSIGNED_SUBTRACTION
    NO_DIR_IN_CREATE POSTGRESQL ORACLE MSSQL DB2 MAXDB NO_KEY_OPTIONS NO_TABLE_OPTIONS NO_FIELD_OPTIONS MYSQL323 MYSQL40 ANSI
    NO_AUTO_VALUE_ON_ZERO NO_BACKSLASH_ESCAPES STRICT_TRANS_TABLES STRICT_ALL_TABLES NO_ZERO_IN_DATE NO_ZERO_DATE
    ALLOW_INVALID_DATES ERROR_FOR_DIVISION_BY_ZERO TRADITIONAL HIGH_NOT_PRECEDENCE NO_ENGINE_SUBSTITUTION
    PAD_CHAR_TO_FULL_LENGTH EMPTY_STRING_IS_NULL SIMULTANEOUS_ASSIGNMENT TIME_ROUND_FRACTIONAL TIME_TRUNCATE_FRACTIONAL
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


class Session:
    """What `MysqlSession` is made of, under its lock, with one file in the history and two rows of another set."""

    def __init__(self, shop: Shop) -> None:
        name = f"{shop.estate.prefix}shop"
        server = shop.estate.servers["mysql"]
        self.target = Target("mysql-shop", "mysql", Secret(server.dsn(name)), name, "here", "server")
        self.connection = open_connection(self.target)
        records = Records(self.target)
        self.lock = NamedLock(self.connection, self.target, records, "a test")
        self.store = Store(self.connection, self.target, records)
        self.guard = Guard(self.connection, self.target, records)
        self.writer = RecordWriter(self.connection, self.target, records, self.store, self.guard)
        self.version = 1

    def use(self, mode: str) -> None:
        """Begin anew in a mode, and read everything, as before each file."""
        ask(self.connection, f"SET sql_mode = '{mode}'")
        with suppress(pymysql.Error):
            ask(self.connection, "ROLLBACK")
        ask_all(self.connection, [f"USE `{self.target.database}`", f"SELECT GET_LOCK('{self.lock.name}', 0)"])
        self.guard.forget()
        self.store.read()
        self.guard.look()

    def write(self, bad: str = "") -> None:
        """Run a file of one row, and whatever else a routine may do, and record it."""
        attempt = Attempt(self.version + 1, 1, "file", Direction.UP, "sha256:0", 1, 1, done=True, tool="a test")
        self.guard.begin(("START TRANSACTION",))
        ask(self.connection, f"INSERT INTO item VALUES ({attempt.version})")
        if bad:
            ask(self.connection, bad)
        self.writer.end([(attempt, "")], VersionRow(attempt.version), self.lock.is_ours(), is_file=True)
        self.version += 1

    def begins(self) -> None:
        """Record that a statement begins, in a transaction of its own."""
        attempt = Attempt(self.version + 1, 1, "file", Direction.UP, "sha256:0", 0, 1, in_flight=True, tool="a test")
        self.writer.commit([(attempt, "{}")], VersionRow(attempt.version, dirty=True), self.lock.is_ours(), look=True)

    def count(self, what: str) -> int:
        return int(ask(self.connection, f"SHOW SESSION STATUS LIKE 'Com_{what}'")[0][1])


BAD = {
    "lock": "DO RELEASE_ALL_LOCKS()",
    "database": "USE information_schema",
    "version": "UPDATE schema_migrations SET version = 90 WHERE version > 0",
    "dirty": "UPDATE schema_migrations SET dirty = 1 WHERE version > 0",
    "no version": "DELETE FROM schema_migrations WHERE version > 0",
    "two versions": "INSERT INTO schema_migrations VALUES (90, 0)",
    "checksum": "UPDATE orch_history SET checksum = 'x' WHERE version = 1",
    "unfinished": "UPDATE orch_history SET done = 0 WHERE version = 1",
    "no history": "DELETE FROM orch_history WHERE version = 1",
    "version of another set": "UPDATE other_versions SET version = 90 WHERE version > 0",
    "history of another set": "DELETE FROM other_history WHERE version > 0",
}
"""What a routine may do in the transaction of a file."""
TRIGGERS = (
    "BEFORE INSERT ON schema_migrations FOR EACH ROW SET NEW.version = 90",
    "BEFORE INSERT ON schema_migrations FOR EACH ROW SET NEW.dirty = NOT NEW.dirty",
    "BEFORE INSERT ON orch_history FOR EACH ROW SET NEW.done = NOT NEW.done",
    "BEFORE INSERT ON orch_history FOR EACH ROW SET NEW.applied = 7",
    "BEFORE INSERT ON orch_history FOR EACH ROW SET NEW.in_flight = NOT NEW.in_flight",
    "BEFORE INSERT ON orch_history FOR EACH ROW SET NEW.version = 90",
)


def modes_of(connection: Any) -> list[str]:
    """Return the modes that this server knows, with that of the server first."""
    found = ["", "ANSI_QUOTES,PIPES_AS_CONCAT,IGNORE_SPACE,NO_UNSIGNED_SUBTRACTION,HIGH_NOT_PRECEDENCE"]
    for mode in SINGLE.split():
        with suppress(pymysql.Error):
            ask(connection, f"SET sql_mode = '{mode}'")
            found.append(mode)
    usual = ask(connection, "SELECT @@GLOBAL.sql_mode")[0][0]
    return [usual, *found]


def test_no_check_of_a_message_is_passed_in_any_mode(shop: Shop) -> None:
    """A condition that does not hold, or is NULL, stops the message; one that holds does not."""
    shop.create()
    shop.sql("CREATE TABLE t (x int)")
    with closing(Session(shop).connection) as connection:
        modes = modes_of(connection)
        assert len(modes) > 20
        for mode in modes:
            ask(connection, f"SET sql_mode = '{mode}'")
            for condition in (
                "0",
                "NULL",
                "1 AND NULL",
                "(SELECT COUNT(*) FROM t FOR UPDATE) = 2",
                "'' = 'a'",
                "NOT 1",
            ):
                with pytest.raises(pymysql.Error) as stopped:
                    ask_all(
                        connection,
                        [
                            "START TRANSACTION",
                            "INSERT INTO t VALUES (1)",
                            errors.stop_unless(["1", condition]),
                            "COMMIT",
                        ],
                    )
                assert errors.code_of(stopped.value) == errors.OUT_OF_RANGE, (mode, condition)
                ask(connection, "ROLLBACK")
            ask_all(
                connection, ["START TRANSACTION", errors.stop_unless(["1", "(SELECT COUNT(*) FROM t) = 0"]), "COMMIT"]
            )
    assert shop.sql("SELECT * FROM t") == []


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["few", "every"])
def test_records_that_are_not_as_they_should_be_stop_the_message_in_any_mode(shop: Shop, every: bool) -> None:
    """A few: each mode writes what is right, and each wrong is tried in one mode, another one each time."""
    shop.declare({"000001_a.up.sql": "CREATE TABLE item (x int);\n"})
    shop.orch("apply")
    shop.sql("CREATE TABLE other_versions (version bigint not null primary key, dirty boolean not null)")
    shop.sql("INSERT INTO other_versions VALUES (5, 0)")
    shop.sql("CREATE TABLE other_history AS SELECT * FROM orch_history")
    session = Session(shop)
    with closing(session.connection) as connection, session.lock.taken(1, print):
        modes = modes_of(connection)
        for mode in modes if every else modes[:2] + modes[-2:]:
            session.use(mode)
            slow = session.count("rollback_to_savepoint"), session.count("rollback")
            session.begins()
            session.write()
            assert slow == (session.count("rollback_to_savepoint"), session.count("rollback")), f"{mode}: not at once"
        before, commits = state(shop), session.count("commit")
        turns = cycle(modes)
        for kind, text in BAD.items():
            for mode in modes if every else [next(turns)]:
                session.use(mode)
                print(kind, mode)
                with pytest.raises(OrchError):
                    session.write(text)
                session.use("")
        for trigger in TRIGGERS:
            shop.sql(f"CREATE TRIGGER k {trigger}")
            for mode in modes if every else [next(turns)]:
                for write in (session.begins, session.write):
                    session.use(mode)
                    print(trigger, mode)
                    with pytest.raises(OrchError):
                        write()
                    session.use("")
            shop.sql("DROP TRIGGER k")
        assert session.count("commit") == commits
        assert state(shop) == before


def state(shop: Shop) -> list[object]:
    tables = "item", "schema_migrations", "orch_history", "other_versions", "other_history"
    return [sorted(shop.sql(f"SELECT * FROM {table}"), key=str) for table in tables]


def test_later_records_of_an_attempt_leave_the_same_row_as_one_record(shop: Shop) -> None:
    """They update only what has changed. If somebody has removed the row meanwhile, it is written again as a whole."""
    shop.declare({"000001_a.up.sql": "CREATE TABLE item (x int);\n"})
    shop.orch("apply")
    session = Session(shop)
    with closing(session.connection), session.lock.taken(1, print):
        session.use("")
        session.write()
        session.begins()
        session.write()
        session.begins()
        shop.sql("DELETE FROM orch_history WHERE version = 4")
        session.guard.forget()
        session.write()
    columns = ", ".join(name for name in COLUMNS if name not in ("version", "started_at", "finished_at", "seconds"))
    rows = shop.sql(f"SELECT {columns}, finished_at >= started_at, seconds >= 0 FROM orch_history WHERE version > 1")
    assert len(rows) == 3
    assert len({*rows}) == 1
    assert shop.sql("SELECT version, done, in_flight, applied, seen_before FROM orch_history WHERE version > 1") == [
        (version, 1, 0, 1, "") for version in (2, 3, 4)
    ]
