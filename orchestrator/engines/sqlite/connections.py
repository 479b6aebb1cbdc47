"""The two connections to one SQLite file: one that cannot write, and one that writes. Statements are run over them."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar
from urllib.parse import quote

from orchestrator.engines.base import Limits
from orchestrator.engines.sqlite import errors
from orchestrator.engines.sqlite.dsn import is_on, options_of, path_of
from orchestrator.engines.sqlite.lock import SUFFIX
from orchestrator.errors import StatementError
from orchestrator.model import ReadOnly, Statement, Target

BUSY_SECONDS = 5.0  # golang-migrate's drivers wait so long
_T = TypeVar("_T")
_STEPS = 2_000  # of SQLite's machine, between two looks at the clock


class Connections:
    """Opens each connection when it is needed; `close` leaves no file beside the database that was not there."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._path = path_of(target.url.reveal())
        self._options = options_of(target.url.reveal())
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._waits = 0  # milliseconds that the writing connection waits for SQLite's own lock
        self._before = self._beside()
        self.writes = False
        """Whether this session writes soon: then what it reads needs no connection of its own."""

    @property
    def path(self) -> str:
        """Where the file is."""
        return self._path

    def _open(self, mode: str) -> sqlite3.Connection:
        uri = f"file://{quote(self._path)}?mode={mode}"
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, timeout=self._busy(), check_same_thread=False, cached_statements=0
        )
        connection.text_factory = lambda data: data.decode(errors="replace")
        return connection

    def _busy(self) -> float:
        given = self._options.get("busy_timeout", "")
        return int(given) / 1000 if given.isdecimal() else BUSY_SECONDS

    def reading(self, read: Callable[[sqlite3.Connection], _T]) -> _T:
        """Read over the connection at hand; one that may write only where a killed writer's journal must be played back."""
        if self.writes or self._writer is not None:
            return read(self.writer())
        if self._reader is None:
            errors.refuse_no_file(self._target)
            self._reader = self._open("ro")
        try:
            return read(self._reader)
        except sqlite3.Error as error:
            if errors.code_of(error) not in errors.NEEDS_REPAIR:
                raise
        self._reader.close()
        self._reader = self._open("rw")
        return read(self._reader)

    def writer(self) -> sqlite3.Connection:
        """Return the connection that writes; it never creates the file."""
        if self._writer is None:
            errors.refuse_no_file(self._target)
            with errors.mapped(self._target):
                if self._reader is not None:
                    self._reader.close()
                    self._reader = None
                self._writer = self._open("rw")
                self._waits = 0
                for name in ("foreign_keys", "recursive_triggers", "case_sensitive_like"):
                    if value := self._options.get(name):
                        self._writer.execute(f"PRAGMA {name} = {int(is_on(value))}")
        return self._writer

    def renew(self) -> None:
        """Close the connection over which a file ran: its settings and temporary tables go with it."""
        if self._writer is not None:
            with suppress(sqlite3.Error):
                self._writer.close()
            self._writer = None

    def roll_back(self) -> None:
        """Roll back what the writing connection has open, if it has."""
        if self._writer is not None and self._writer.in_transaction:
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")

    def set_busy(self, connection: sqlite3.Connection, limits: Limits) -> float:
        """Set how long SQLite waits for its own lock; return that in seconds."""
        seconds = limits.in_queue.lock_timeout or self._busy()
        if (waits := max(1, round(seconds * 1000))) != self._waits:
            connection.execute(f"PRAGMA busy_timeout = {waits}")
            self._waits = waits
        return seconds

    def begin(self, connection: sqlite3.Connection, limits: Limits) -> None:
        """Take SQLite's lock for writers, which others may hold for a moment."""
        with errors.mapped(self._target):
            waited = self.set_busy(connection, limits)
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                ours = errors.translated(error, self._target, None)
                if isinstance(ours, StatementError) and ours.transient:
                    ours.waited = waited
                raise ours from None

    def run(
        self, connection: sqlite3.Connection, statement: Statement, limits: Limits, rows: int = 1
    ) -> list[tuple[object, ...]]:
        """Run one statement to its end; return its first rows."""
        inside = connection.in_transaction
        with self.limited(connection, statement, limits):
            cursor = connection.execute(statement.body)
            first: list[tuple[object, ...]] = cursor.fetchmany(rows)
            while cursor.fetchmany(1000):
                pass
        if inside and not connection.in_transaction:
            raise StatementError("the statement ended the transaction", statement=statement, hint="remove it")
        return first

    @contextmanager
    def limited(self, connection: sqlite3.Connection, statement: Statement, limits: Limits) -> Iterator[None]:
        """Stop what runs in this context after `statement_timeout`, and raise errors of SQLite as errors of orch."""
        seconds = limits.statement_timeout or 0.0
        deadline = time.monotonic() + seconds
        if seconds:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            with errors.mapped(self._target, statement):
                yield
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

    def read_only(self) -> ReadOnly | None:
        """Return why this user cannot write the file and what SQLite puts beside it; None if that is no problem."""
        beside = [self._path + suffix for suffix in ("-wal", "-shm", "-journal", SUFFIX)]  # of another user, perhaps
        for place in (self._path, os.path.dirname(self._path), *filter(os.path.lexists, beside)):  # noqa: PTH120 - as below
            if not os.access(place, os.W_OK):
                if not os.path.lexists(place):  # it went away in between
                    continue
                if errors.is_mounted_read_only(place):
                    why, hint = "is on a file system that is mounted read-only", "mount it so that it can be written"
                else:
                    why = "cannot be written by this user"
                    hint = "SQLite writes the file and, beside it, its journal: give this user the right to write all of them"
                return ReadOnly(f"{self._target.database_id} takes no writes: {place} {why}", hint)
        return None

    def _beside(self) -> set[str]:
        return {suffix for suffix in ("-wal", "-shm") if os.path.exists(self._path + suffix)}  # noqa: PTH110 - Path takes longer

    def interrupt(self) -> None:
        """End the statement that writes, from another thread."""
        if (connection := self._writer) is not None:
            with suppress(sqlite3.Error):
                connection.interrupt()
