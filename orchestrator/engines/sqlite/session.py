"""One session on one SQLite file.

It reads over a connection that cannot write. What it writes it writes in transactions that begin with BEGIN IMMEDIATE,
SQLite's own lock: inside, the records are read again and compared with what this session knows, then the file runs, then
the records are written, then all of it commits. So nothing runs twice, whoever else is at work.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from orchestrator.engines.base import Effect, Limits, Rows
from orchestrator.engines.sqlite import errors
from orchestrator.engines.sqlite.connections import Connections
from orchestrator.engines.sqlite.lock import FileLock
from orchestrator.engines.sqlite.reader import is_session, pragma, value_of, words_of
from orchestrator.engines.sqlite.records import Raw, Records
from orchestrator.errors import ConflictError, LockError, StatementError
from orchestrator.hints import Command, Hint
from orchestrator.model import (
    NO_CHECKS,
    Activity,
    Attempt,
    Checks,
    History,
    LockHolder,
    SchemaObject,
    SchemaSnapshot,
    Script,
    Statement,
    Target,
    VersionRow,
    Vitals,
)

BUSY_SECONDS = 5.0  # golang-migrate's drivers wait so long
_T = TypeVar("_T")
_TEMPORARY = frozenset({"temp", "temporary"})
_STEPS = 2_000  # of SQLite's machine, between two looks at the clock


class SqliteSession:
    """The verbs of `engines.base.Session`."""

    tells_of_lock = False

    def __init__(self, target: Target, who: str) -> None:
        self.target = target
        self._connections = Connections(target)
        self._records = Records(target)
        self._lock = FileLock(self._connections.path, who, target.database_id)
        self._used = False  # a file ran over the writing connection: its settings and temporary tables are there
        self._in_pieces = False  # a file runs statement by statement: what it has set lasts until its end
        self._known: Raw | None = None
        self._seen: tuple[sqlite3.Connection, int] | None = None  # the `data_version` for which `_known` is true

    def close(self) -> None:
        """Close both connections, and leave no file beside the database that was not there."""
        self._connections.close()

    # ------------------------------------------------------------ reading

    def read_history(self, extensions: Sequence[str] = ()) -> History:  # noqa: ARG002 - PostgreSQL has extensions
        """Return what the database remembers, in one transaction that reads."""
        with errors.reading(self.target):
            self._known, history = self._connections.reading(self._read_once)
            place = self.place()
        return history._replace(place=place, read_only=self._connections.read_only())

    def place(self) -> str:
        """Return what is the same for two targets that are one version table in one file."""
        status = os.stat(self._connections.path)  # noqa: PTH116 - it is read for each of very many databases
        return f"{status.st_dev}:{status.st_ino}:{self._records.version_table}"

    def look(self, extensions: Sequence[str] = ()) -> tuple[History, LockHolder | None]:
        """Return what `read_history` does, and who holds the migration lock now."""
        return self.read_history(extensions), self._lock.holder()

    def schema_snapshot(self) -> SchemaSnapshot:
        """Return the schema as it is now, without the bookkeeping."""
        from orchestrator.engines.sqlite.schema_snapshot import read_schema

        ours = (self._records.version_table, self._records.history, f"{self._records.history}_snapshot")
        with errors.mapped(self.target):
            return self._connections.reading(lambda connection: read_schema(connection, ours))

    def server(self) -> str:
        """Return the major version: the schema of a file is the same in all releases of it."""
        return f"sqlite {sqlite3.sqlite_version_info[0]}"

    def vitals(self) -> Vitals:
        """Return nothing: a file has no clock, and whether it can be written is told with the history."""
        return Vitals()

    def kept_snapshot(self) -> str:
        """Read the row of the table beside the history."""
        with errors.mapped(self.target):
            return self._connections.reading(self._records.kept_snapshot)

    def keep_snapshot(self, text: str) -> None:
        """Make the table beside the history, and write its one row."""
        connection = self._connections.writer()
        self._connections.begin(connection, Limits())
        try:
            with errors.mapped(self.target):
                self._records.keep_snapshot(connection, text)
                connection.execute("COMMIT")
        except BaseException:
            self._connections.roll_back()
            raise

    def is_bare(self, schema_object: SchemaObject) -> bool:
        """Whether the server makes such a thing by itself: SQLite makes none."""
        del schema_object
        return False

    # ------------------------------------------------------------ the lock

    @contextmanager
    def lock(self, wait: float, on_wait: Callable[[LockHolder], None]) -> Iterator[None]:
        """Hold the lock among runs of orch; LockError after `wait` seconds."""
        with self._lock.held(wait, on_wait):
            self._connections.writes = True
            yield

    def holder(self) -> LockHolder | None:
        """Return who holds the lock now."""
        return self._lock.holder()

    def unlock(self, holder: LockHolder, *, terminate: bool = False) -> None:
        """Refuse: the lock goes with its process, so there is never a dead one."""
        del terminate
        raise LockError(
            f"the lock of {self.target.database_id} is held by a running process: {holder.description}",
            hint="let it finish, or end that process; the lock goes with it",
        )

    def keep(self) -> None:
        """Do nothing: opening a file takes no time."""

    def prepare(self, extensions: Sequence[str]) -> None:
        """Do nothing: there are no extensions to create."""

    # ------------------------------------------------------------ writing

    def commit(
        self,
        statements: Sequence[Statement],
        attempts: Sequence[Attempt],
        version_row: VersionRow | None,
        limits: Limits,
        checks: Checks = NO_CHECKS,
    ) -> None:
        """Run statements and write records and version row: all of it or nothing."""
        from orchestrator.engines.sqlite.guard import Guard

        guard = Guard(self.target, self._records)
        if self._used and not self._in_pieces:
            self._renew()
        connection = self._connections.writer()
        words = [words_of(statement.source) for statement in statements]
        self._used = self._used or any(one[:1] == ("pragma",) or not _TEMPORARY.isdisjoint(one) for one in words)
        inside = [place for place, one in enumerate(words) if not is_session(one)]
        for place, statement in enumerate(statements):
            if is_session(words[place]) and (not inside or place < inside[0]):  # a transaction would pass over it
                self._connections.run(connection, statement, limits)
        self._connections.begin(connection, limits)
        try:
            seen = connection, self._data_version(connection)
            known = self._known if seen == self._seen else None
            known = known or guard.compare(connection, self._known)
            with errors.mapped(self.target):
                others = self._records.of_other_sets(connection) if statements else {}
            for check in checks.before:
                self._ask(connection, check, limits)
            for place in inside:
                with guard.shape_kept(connection, statements[place]):
                    self._connections.run(connection, statements[place], limits)
            for check in checks.after:
                self._ask(connection, check, limits)
            guard.check_file(connection, known, others, statements)
            with errors.mapped(self.target), guard.told_as_records():
                after = self._records.write(connection, known, attempts, version_row)
            guard.check_kept(known, after, attempts, version_row)
            with errors.mapped(self.target):
                connection.execute("COMMIT")
        except BaseException:
            self._seen = None  # what the tables were found to be may be gone
            self._connections.roll_back()
            raise
        self._known, self._seen = after, seen
        self._in_pieces = self._in_pieces and not any(attempt.done for attempt in attempts)

    def begin(self, attempt: Attempt, statements: Sequence[Statement], limits: Limits) -> None:
        """Get ready to run what is left of a file statement by statement: what it has set above counts again."""
        del attempt, limits
        self._renew()
        self._in_pieces = True
        from orchestrator.engines.sqlite.replay import to_replay

        settings, lost, line = to_replay(statements)
        if lost:
            raise ConflictError(
                f"{self.target.database_id} cannot go on in the middle of a file: the temporary table {lost} went with the "
                "session that was cut off",
                detail=f"line {line} needs it",
                hint=Hint("finish the file by hand, and then: ", Command("repair", self.target.database_id)),
            )
        connection = self._connections.writer()
        for setting in settings:
            with errors.mapped(self.target):
                connection.execute(setting).fetchall()

    def kept_texts(self, version: int | None = None) -> Mapping[tuple[int, int], str]:
        """Read the column of the texts, which the history is read without."""
        with errors.mapped(self.target):
            return self._connections.reading(lambda connection: self._records.kept_texts(connection, version))

    def ask(self, check: Statement, limits: Limits) -> None:
        """Ask a check over a connection that cannot change anything, or that must not while it is asked."""
        self._connections.reading(lambda connection: self._ask(connection, check, limits))

    def select(self, query: Statement, limits: Limits, most: int) -> Rows:
        """Read the rows of a query over a connection that must not change anything while it is asked."""
        from orchestrator.engines.checks import text_of

        deadline = time.monotonic() + (limits.statement_timeout or 0.0)

        def read(connection: sqlite3.Connection) -> Rows:
            connection.execute("PRAGMA query_only = 1")
            try:
                with self._connections.limited(connection, query, limits):
                    found = connection.execute(f"SELECT * FROM (\n{query.body}\n) LIMIT {most + 1}")  # noqa: S608 - a query that was read as one SELECT
                    columns = tuple(column[0] for column in found.description)
                    rows = found.fetchall()
            except StatementError as error:
                # A signal that arrives while SQLite looks at the clock stops the query, and its exception is lost there.
                if error.code == "SQLITE_INTERRUPT" and time.monotonic() < deadline:
                    raise KeyboardInterrupt from None
                raise
            finally:
                with suppress(sqlite3.Error):
                    connection.execute("PRAGMA query_only = 0")
            return Rows(columns, tuple(tuple(None if cell is None else text_of(cell) for cell in row) for row in rows))

        return self._connections.reading(read)

    def execute(self, statement: Statement, limits: Limits) -> None:
        """Run one statement that cannot be part of a transaction."""
        connection = self._connections.writer()
        self._used, self._seen = True, None
        self._connections.set_busy(connection, limits)
        try:
            rows = self._connections.run(connection, statement, limits)
        except BaseException:
            self._connections.roll_back()
            raise
        words = words_of(statement.source)
        wanted = value_of(words)
        if pragma(words) == "journal_mode" and wanted and rows and str(rows[0][0]).lower() != wanted:
            raise StatementError(
                f"the journal mode stays '{rows[0][0]}'",
                code="SQLITE_ERROR",
                statement=statement,
                hint="a file system without shared memory, such as that of a network, allows no WAL",
            )

    def probe(self, statement: Statement, limits: Limits) -> tuple[Effect, str]:
        """Find out what became of a statement that was cut off: SQLite undoes by itself what did not commit."""
        del limits
        words = words_of(statement.source)
        if pragma(words) == "journal_mode":
            with errors.mapped(self.target):
                mode = str(self._connections.reading(lambda one: one.execute("PRAGMA journal_mode").fetchone()[0]))
            done = mode.lower() == value_of(words)
            return Effect.DONE if done else Effect.NOT_DONE, f"the journal mode is '{mode}'"
        if statement.repeatable or words[:1] == ("vacuum",):
            return Effect.NOT_DONE, "it can be made again with the same end"
        return Effect.UNKNOWN, "SQLite keeps no trace of whether it was done"

    def commits(self, statement: Statement) -> bool:
        """Whether this statement can commit together with its record."""
        return statement.atomic

    def commits_together(self, script: Script) -> bool:
        """Whether a whole file can commit in one transaction."""
        return script.atomic

    def messages(self) -> list[tuple[str, str]]:
        """Return nothing: SQLite says nothing beside its answers."""
        return []

    @contextmanager
    def watch(self) -> Iterator[Callable[[], Activity]]:
        """Tell nothing: SQLite does not say who holds its lock."""
        yield Activity

    def cancel(self) -> None:
        """End the running statement; a transaction that wrote is gone then."""
        self._connections.interrupt()

    # ------------------------------------------------------------ what stands behind the verbs

    def _renew(self) -> None:
        """Close the connection over which a file ran: its settings and temporary tables go with it."""
        self._used = False
        self._connections.renew()

    def _read_once(self, connection: sqlite3.Connection) -> tuple[Raw, History]:
        connection.execute("BEGIN")
        try:
            found = self._records.read(connection)
            self._seen = (connection, self._data_version(connection)) if self._connections.writes else None
            return found
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _data_version(self, connection: sqlite3.Connection) -> int:
        """Return a number that is the same as long as no other connection commits anything. It costs a tenth of a read."""
        with errors.mapped(self.target):
            return int(connection.execute("PRAGMA data_version").fetchone()[0])

    def _ask(self, connection: sqlite3.Connection, check: Statement, limits: Limits) -> None:
        from orchestrator.engines.checks import answer_of, judge

        connection.execute("PRAGMA query_only = 1")
        try:
            judge(check, [answer_of(row[0]) for row in self._connections.run(connection, check, limits, rows=2)])
        finally:
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA query_only = 0")
