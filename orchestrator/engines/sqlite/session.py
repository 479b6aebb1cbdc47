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
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from orchestrator.engines.base import Effect, Limits, Rows
from orchestrator.engines.checks import judge
from orchestrator.engines.sqlite import errors
from orchestrator.engines.sqlite.dsn import options_of, path_of
from orchestrator.engines.sqlite.lock import SUFFIX, FileLock
from orchestrator.engines.sqlite.reader import is_session, pragma, value_of, words_of
from orchestrator.engines.sqlite.records import Raw, Records
from orchestrator.engines.sqlite.schema_snapshot import read_schema
from orchestrator.errors import LockError, StalePlanError, StatementError
from orchestrator.model import (
    NO_CHECKS,
    Activity,
    Attempt,
    Checks,
    History,
    LockHolder,
    ReadOnly,
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
        self._path = path_of(target.url.reveal())
        self._records = Records(target)
        self._lock = FileLock(self._path, who, target.database_id)
        self._options = options_of(target.url.reveal())
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._used = False  # a file ran over the writing connection: its settings and temporary tables are there
        self._in_pieces = False  # a file runs statement by statement: what it has set lasts until its end
        self._known: Raw | None = None
        self._before = self._beside()

    def close(self) -> None:
        """Close both connections, and leave no file beside the database that was not there."""
        with suppress(sqlite3.Error):
            if self._writer is not None:
                self._writer.close()
        if self._reader is None:
            return
        with suppress(sqlite3.Error):
            self._reader.close()
            if self._beside() - self._before and os.access(self._path, os.W_OK):
                # Reading in WAL mode makes two files, and only a connection that may write takes them away again.
                last = self._open("rw")
                last.execute("SELECT count(*) FROM sqlite_master").fetchone()
                last.close()

    # ------------------------------------------------------------ reading

    def read_history(self, extensions: Sequence[str] = ()) -> History:  # noqa: ARG002 - PostgreSQL has extensions
        """Return what the database remembers, in one transaction that reads."""
        with errors.mapped(self.target):
            self._known, history = self._reading(self._read_once)
        place = ""
        if history.store:
            status = Path(self._path).stat()
            place = f"{status.st_dev}:{status.st_ino}:{self._records.version_table}"
        return history._replace(place=place, read_only=self._read_only())

    def look(self, extensions: Sequence[str] = ()) -> tuple[History, LockHolder | None]:
        """Return what `read_history` does, and who holds the migration lock now."""
        return self.read_history(extensions), self._lock.holder()

    def schema_snapshot(self) -> SchemaSnapshot:
        """Return the schema as it is now, without the bookkeeping."""
        ours = (self._records.version_table, self._records.history, f"{self._records.history}_snapshot")
        with errors.mapped(self.target):
            return self._reading(lambda connection: read_schema(connection, ours))

    def server(self) -> str:
        """Return the major version: the schema of a file is the same in all releases of it."""
        return f"sqlite {sqlite3.sqlite_version_info[0]}"

    def vitals(self) -> Vitals:
        """Return nothing: a file has no clock, and whether it can be written is told with the history."""
        return Vitals()

    def kept_snapshot(self) -> str:
        """Read the row of the table beside the history."""
        with errors.mapped(self.target):
            return self._reading(self._records.kept_snapshot)

    def keep_snapshot(self, text: str) -> None:
        """Make the table beside the history, and write its one row."""
        connection = self._write()
        self._begin(connection, Limits())
        try:
            with errors.mapped(self.target):
                self._records.keep_snapshot(connection, text)
                connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def is_bare(self, schema_object: SchemaObject) -> bool:
        """Whether the server makes such a thing by itself: SQLite makes none."""
        del schema_object
        return False

    # ------------------------------------------------------------ the lock

    def lock(self, wait: float, on_wait: Callable[[LockHolder], None]) -> AbstractContextManager[None]:
        """Hold the lock among runs of orch; LockError after `wait` seconds."""
        return self._lock.held(wait, on_wait)

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
        if self._used and not self._in_pieces:
            self._renew()
        connection = self._write()
        words = [words_of(statement.source) for statement in statements]
        self._used = self._used or any(one[:1] == ("pragma",) or not _TEMPORARY.isdisjoint(one) for one in words)
        inside = [place for place, one in enumerate(words) if not is_session(one)]
        for place, statement in enumerate(statements):
            if is_session(words[place]) and (not inside or place < inside[0]):  # a transaction would pass over it
                self._run(connection, statement, limits)
        self._begin(connection, limits)
        try:
            known = self._compare(connection)
            others = self._records.of_other_sets(connection) if statements else {}
            for check in checks.before:
                self._ask(connection, check, limits)
            for place in inside:
                self._run(connection, statements[place], limits)
            for check in checks.after:
                self._ask(connection, check, limits)
            self._check_file(connection, known, others, statements)
            with errors.mapped(self.target):
                self._records.write(connection, attempts, version_row)
                after, _ = self._records.read(connection)
            self._check_kept(known, after, attempts, version_row)
            with errors.mapped(self.target):
                connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._known = after
        self._in_pieces = self._in_pieces and not any(attempt.done for attempt in attempts)

    def begin(self, attempt: Attempt, statements: Sequence[Statement], limits: Limits) -> None:
        """Get ready to run what is left of a file statement by statement: what it has set above counts again."""
        del attempt, limits
        self._renew()
        self._in_pieces = True
        settings = statements[0].settings if statements else ""
        connection = self._write()
        for setting in filter(None, settings.split(";\n")):
            with errors.mapped(self.target):
                connection.execute(setting).fetchall()

    def kept_texts(self, version: int | None = None) -> Mapping[tuple[int, int], str]:
        """Read the column of the texts, which the history is read without."""
        with errors.mapped(self.target):
            return self._reading(lambda connection: self._records.kept_texts(connection, version))

    def ask(self, check: Statement, limits: Limits) -> None:
        """Ask a check over a connection that cannot change anything, or that must not while it is asked."""
        self._reading(lambda connection: self._ask(connection, check, limits))

    def select(self, query: Statement, limits: Limits, most: int) -> Rows:
        """Read the rows of a query over a connection that must not change anything while it is asked."""

        def read(connection: sqlite3.Connection) -> Rows:
            connection.execute("PRAGMA query_only = 1")
            try:
                with errors.mapped(self.target, query):
                    found = connection.execute(f"SELECT * FROM (\n{query.body}\n) LIMIT {most + 1}")  # noqa: S608
                    columns = tuple(column[0] for column in found.description)
                    rows = found.fetchall()
            finally:
                with suppress(sqlite3.Error):
                    connection.execute("PRAGMA query_only = 0")
            return Rows(columns, tuple(tuple(None if cell is None else str(cell) for cell in row) for row in rows))

        del limits  # a file has no other waiter
        return self._reading(read)

    def execute(self, statement: Statement, limits: Limits) -> None:
        """Run one statement that cannot be part of a transaction."""
        connection = self._write()
        self._used = True
        self._set_busy(connection, limits)
        try:
            rows = self._run(connection, statement, limits)
        except BaseException:
            self._roll_back()
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
                mode = str(self._reading(lambda one: one.execute("PRAGMA journal_mode").fetchone()[0]))
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
        if (connection := self._writer) is not None:
            with suppress(sqlite3.Error):
                connection.interrupt()

    # ------------------------------------------------------------ what stands behind the verbs

    def _open(self, mode: str) -> sqlite3.Connection:
        uri = f"file:{quote(self._path)}?mode={mode}"
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, timeout=self._busy(), check_same_thread=False, cached_statements=0
        )
        connection.text_factory = lambda data: data.decode(errors="replace")
        return connection

    def _busy(self) -> float:
        given = self._options.get("busy_timeout", "")
        return int(given) / 1000 if given.isdecimal() else BUSY_SECONDS

    def _reading(self, read: Callable[[sqlite3.Connection], _T]) -> _T:
        """Read over the connection at hand; one that may write only where a killed writer's journal must be played back."""
        if self._writer is not None:
            return read(self._writer)
        if self._reader is None:
            self._refuse_no_file()
            self._reader = self._open("ro")
        try:
            return read(self._reader)
        except sqlite3.Error as error:
            if errors.code_of(error) not in errors.NEEDS_REPAIR:
                raise
        self._reader.close()
        self._reader = self._open("rw")
        return read(self._reader)

    def _read_once(self, connection: sqlite3.Connection) -> tuple[Raw, History]:
        connection.execute("BEGIN")
        try:
            return self._records.read(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _refuse_no_file(self) -> None:
        if not os.path.isfile(self._path):  # noqa: PTH113 - the method of a path raises where it may not look
            raise errors.cannot_open(self.target)

    def _write(self) -> sqlite3.Connection:
        """Return the connection that writes; it never creates the file."""
        if self._writer is None:
            self._refuse_no_file()
            with errors.mapped(self.target):
                if self._reader is not None:
                    self._reader.close()
                    self._reader = None
                self._writer = self._open("rw")
                for name in ("foreign_keys", "recursive_triggers", "case_sensitive_like"):
                    if value := self._options.get(name):
                        self._writer.execute(f"PRAGMA {name} = {1 if value in ('1', 'true', 'yes', 'on') else 0}")
        return self._writer

    def _renew(self) -> None:
        """Close the connection over which a file ran: its settings and temporary tables go with it."""
        self._used = False
        if self._writer is not None:
            with suppress(sqlite3.Error):
                self._writer.close()
            self._writer = None

    def _set_busy(self, connection: sqlite3.Connection, limits: Limits) -> float:
        seconds = limits.in_queue.lock_timeout or self._busy()
        connection.execute(f"PRAGMA busy_timeout = {max(1, round(seconds * 1000))}")
        return seconds

    def _begin(self, connection: sqlite3.Connection, limits: Limits) -> None:
        """Take SQLite's lock for writers, which others may hold for a moment."""
        with errors.mapped(self.target):
            waited = self._set_busy(connection, limits)
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                ours = errors.translated(error, self.target, None)
                if isinstance(ours, StatementError) and ours.transient:
                    ours.waited = waited
                raise ours from None

    def _run(
        self, connection: sqlite3.Connection, statement: Statement, limits: Limits, rows: int = 1
    ) -> list[tuple[object, ...]]:
        """Run one statement to its end; return its first rows."""
        seconds = limits.statement_timeout or 0.0
        deadline = time.monotonic() + seconds
        inside = connection.in_transaction
        if seconds:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            with errors.mapped(self.target, statement):
                cursor = connection.execute(statement.body)
                first: list[tuple[object, ...]] = cursor.fetchmany(rows)
                while cursor.fetchmany(1000):
                    pass
        except StatementError as error:
            if error.code != "SQLITE_INTERRUPT":
                raise
            late = seconds and time.monotonic() > deadline
            what = f"the statement took longer than {seconds:g} s" if late else "the statement was cancelled"
            hint = "raise statement_timeout, or make it several smaller ones" if late else ""
            raise error.completed(what=what, hint=hint) from error
        finally:
            if seconds:
                connection.set_progress_handler(None, 0)
        if inside and not connection.in_transaction:
            raise StatementError("the statement ended the transaction", statement=statement, hint="remove it")
        return first

    def _ask(self, connection: sqlite3.Connection, check: Statement, limits: Limits) -> None:
        connection.execute("PRAGMA query_only = 1")
        try:
            judge(check, [_answer(row) for row in self._run(connection, check, limits, rows=2)])
        finally:
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA query_only = 0")

    def _compare(self, connection: sqlite3.Connection) -> Raw:
        """Read the records inside of the transaction; StalePlanError if they are not what this session knows."""
        with errors.mapped(self.target):
            found, _ = self._records.read(connection)
        if self._known is not None and found != self._known:
            raise StalePlanError(
                f"the records of {self.target.database_id} were changed since they were read: somebody else migrates it",
                hint="nothing of this file was run; run again. golang-migrate takes no lock on SQLite",
            )
        return found

    def _check_file(
        self,
        connection: sqlite3.Connection,
        before: Raw,
        others: dict[str, tuple[object, ...]],
        statements: Sequence[Statement],
    ) -> None:
        """Refuse a file that changed the records of orch or golang-migrate: they could not be believed any more."""
        if not statements:
            return
        with errors.mapped(self.target):
            after, _ = self._records.read(connection)
            now = self._records.of_other_sets(connection)
        if changed := [name for name, rows in others.items() if now.get(name) != rows]:
            raise StatementError(
                f"the file empties, changes or removes {changed[0]}, in which another set of migrations records what is "
                "applied",
                code="SQLITE_ERROR",
                hint="leave it out; if that set is no longer used, drop its tables by hand",
            )
        if after != before:
            raise StatementError(
                "the file changes the records of orch or of golang-migrate",
                code="SQLITE_ERROR",
                hint=f"remove what it does to {self._records.version_table} and {self._records.history}",
            )

    def _check_kept(self, before: Raw, after: Raw, attempts: Sequence[Attempt], version_row: VersionRow | None) -> None:
        """Refuse to commit if a trigger kept back or changed what was just written."""
        finished = {row[:2] for row in before.attempts or () if row[-1]}
        written = {(row[0], row[1], row[4], bool(row[5]), bool(row[6])) for row in after.attempts or ()}
        there = all(
            (one.version, one.number, one.applied, one.in_flight, one.done) in written
            for one in attempts
            if (one.version, one.number) not in finished
        )
        wanted = (
            () if version_row is None or version_row.version is None else ((version_row.version, version_row.dirty),)
        )
        points = version_row is None or tuple((row[0], bool(row[1])) for row in after.version_rows or ()) == wanted
        if not (there and points):
            table = self._records.version_table if there else self._records.history
            raise StatementError(
                f"{table} does not hold what orch has just written into it: a trigger on it is in the way",
                code="SQLITE_ERROR",
                hint="drop that trigger: it may look at what is written, and must not change or keep it back",
            )

    def _roll_back(self) -> None:
        if self._writer is not None and self._writer.in_transaction:
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")

    def _beside(self) -> set[str]:
        return {suffix for suffix in ("-wal", "-shm") if Path(self._path + suffix).exists()}

    def _read_only(self) -> ReadOnly | None:
        beside = [self._path + suffix for suffix in ("-wal", "-shm", "-journal", SUFFIX)]  # of another user, perhaps
        for place in (self._path, str(Path(self._path).parent), *filter(os.path.lexists, beside)):
            if not os.access(place, os.W_OK):
                if not os.path.lexists(place):  # it went away in between
                    continue
                return ReadOnly(
                    f"{self.target.database_id} takes no writes: {place} cannot be written by this user",
                    "SQLite writes the file and, beside it, its journal: give this user the right to write all of them",
                )
        return None


def _answer(row: tuple[object, ...]) -> object:
    """Return the first column as a check reads it: SQLite has 1 and 0 for true and false."""
    value = row[0]
    if value in (0, 1) and isinstance(value, int):
        return value == 1
    return None if value is None else ("number" if isinstance(value, (int, float)) else "text", str(value))
