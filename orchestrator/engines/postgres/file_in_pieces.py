"""The state of a session while a file runs in it statement by statement, and what a file leaves behind in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import psycopg

from orchestrator.engines.base import Limits
from orchestrator.engines.postgres import carried
from orchestrator.engines.postgres.history import literal
from orchestrator.engines.postgres.lock_queue import limits_alone, limits_together, timed
from orchestrator.engines.postgres.message import RESET, RESET_SESSION, Message, set_limits
from orchestrator.engines.postgres.record_writer import NO_LOCK, RecordWriter
from orchestrator.engines.postgres.shared_catalogs import REMEMBER, UNTOUCHED
from orchestrator.engines.postgres.tables import Tables
from orchestrator.engines.postgres.wire import Wire
from orchestrator.errors import ConnectionLostError, NotPermittedError, OrchError, StatementError
from orchestrator.model import Attempt, Statement, Target, VersionRow


class FileInPieces:
    """What the files that ran so far have made of a session.

    `limits` are those of the file that runs statement by statement, None if there is none. `used` says that a file that is
    done may have left something behind. `settings` are ours, set while the lock is held, as `own_settings` has them.
    """

    def __init__(self, connection: psycopg.Connection[Any], target: Target, tables: Tables, wire: Wire) -> None:
        self._connection = connection
        self._target = target
        self._tables = tables
        self._wire = wire
        self.writer = RecordWriter(connection, tables)
        self.limits: Limits | None = None
        self.used = False
        self.settings = ""
        self._own_limits = False  # the file sets lock_timeout itself

    def begin(self, attempt: Attempt, statements: Sequence[Statement], limits: Limits) -> None:
        """Make the session what the statements of the file above these left, and keep it so until the file is done."""
        self.clean()
        self.writer.guard.look_for_other_sets()
        if not (self._tables.complete and self._tables.has_session):
            # Only the owner of the history can add to it, and only while nobody reads it: the text of the file still tells.
            with suppress(NotPermittedError, StatementError):
                self._wire.send(Message(f"BEGIN; {self._tables.create()}{self._tables.create_session()}COMMIT"))
                self._tables.written((), None, session=True)
        text = set_limits("SET", limits) + statements[0].settings
        if attempt.applied and self._tables.has_session:
            query = carried.kept(self._tables.history, attempt.version, attempt.number, attempt.applied)
            if row := self._tables.ask(query):
                text += carried.restore(row[0], partial(literal, self._connection))
        self.limits = limits
        self._own_limits = any("lock_timeout" in statement.source.lower() for statement in statements) or (
            "lock_timeout" in statements[0].settings.lower()
        )
        self._wire.send(Message(text))
        self._wire.refuse_misread(statements, whole=False)

    def commit(
        self,
        limits: Limits,
        statements: Sequence[Statement],
        attempts: Sequence[Attempt],
        version_row: VersionRow | None,
    ) -> None:
        """Commit in the session of a file that runs statement by statement, which our records leave as it is."""
        self._wire.refuse_misread(statements, whole=True)
        if self._target.scratch and statements:
            self._wire.send(Message(REMEMBER))
        message = Message("BEGIN; " if statements else carried.BEGIN_RECORD)
        waits = limits if self._own_limits else limits_together(statements, limits)
        for statement in statements:
            if not self._own_limits:
                message.put(set_limits("SET LOCAL", waits))
            message.put(statement.opening)
            message.add(statement)
            message.put(carried.END_OF_FILE)
        if statements:
            self.refuse_beyond(message)
        message.put(carried.NEUTRAL)
        self.writer.put(message, attempts, version_row, after_file=bool(statements))
        last = bool(attempts) and all(attempt.done or attempt.error for attempt in attempts)
        if self._tables.has_session and not last:
            message.put("; ")
            message.committed = True
            login = literal(self._connection, self._connection.info.user)
            ours = (limits.lock_timeout, limits.statement_timeout) if self._own_limits else None
            for attempt in attempts:
                message.put(carried.keep(self._tables.history, attempt.version, attempt.number, login, ours))
        with timed(waits):
            self._wire.send(message)
        self._tables.written(attempts, version_row)
        if last:
            self.limits, self.used = None, True
            with suppress(OrchError):  # all is recorded; whoever writes next finds out what is wrong with the session
                self._wire.send(Message(f"{RESET}; {self.set_again}"))

    @contextmanager
    def alone(self, statement: Statement, limits: Limits) -> Iterator[Limits]:
        """Prepare the session for one statement: it is that of its file, or set as the text of the file tells.

        Yields the limits that hold for the statement.
        """
        self._wire.refuse_misread((statement,), whole=True)
        if self.limits is not None:
            waits = limits if self._own_limits else limits_alone(statement, limits)
            if text := statement.opening + ("" if self._own_limits else set_limits("SET", waits)):
                self._wire.send(Message(text))
            yield waits
            return
        self.clean()
        limits = limits_alone(statement, limits)
        if settings := set_limits("SET", limits) + statement.settings + statement.opening:
            self._wire.send(Message(settings))
        try:
            yield limits
        finally:
            with suppress(ConnectionLostError):  # whoever writes next finds that out
                self._wire.send(Message(f"{RESET}; {self.set_again}"))

    def unlocked(self) -> None:
        """Take note that the migration lock is released, and our settings with it."""
        self.writer.lock_held, self.settings = NO_LOCK, ""

    def refuse_beyond(self, message: Message) -> None:
        """Let no file change for all databases of the server what it does in a copy."""
        if self._target.scratch:
            message.put_checks(UNTOUCHED)

    @property
    def set_again(self) -> str:
        """What makes our settings again after a RESET."""
        return f"SELECT true{self.settings}; " if self.settings else ""

    def clean(self) -> None:
        """Remove from the session what the file before has left."""
        if self.used:
            self._wire.send(Message(f"{RESET_SESSION}; {self.set_again}"))
            self.used = False
