"""One database's session: reading its history, its lock, its transactions, all over one connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from orchestrator.engines.base import Effect, Limits, Rows
from orchestrator.engines.postgres import carried, errors
from orchestrator.engines.postgres.find_tables import Usual
from orchestrator.engines.postgres.lock import CONNECT_TIMEOUT, AdvisoryLock
from orchestrator.engines.postgres.lock_holder import asks_holder, holder_of
from orchestrator.engines.postgres.lock_queue import limits_together, timed, watching
from orchestrator.engines.postgres.message import RESET, RESET_SESSION, Message, set_limits
from orchestrator.engines.postgres.own_settings import own_settings
from orchestrator.engines.postgres.tables import Tables
from orchestrator.engines.postgres.wire import Wire
from orchestrator.errors import LockError
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

if TYPE_CHECKING:
    from orchestrator.engines.postgres.file_in_pieces import FileInPieces
    from orchestrator.engines.postgres.kept import Kept


class PostgresSession:
    """One connection; everything that it sends is autocommit, or one message with its own BEGIN and COMMIT."""

    tells_of_lock = False

    def __init__(
        self, connection: psycopg.Connection[Any], target: Target, usual: Usual | None = None, *, pristine: bool = False
    ) -> None:
        self.connection = connection
        self.target = target
        self.kept = False
        self._tables = Tables(connection, target, usual, pristine=pristine)
        self._lock = AdvisoryLock(connection, target, self._tables)
        self._wire = Wire(connection, target, self._tables)
        self._looked = False  # under the lock, just now
        self._read: History | None = None  # with the lock, and nothing has been written since

    @cached_property
    def _kept(self) -> Kept:
        from orchestrator.engines.postgres.kept import Kept

        return Kept(self.connection, self.target, self._tables, self._wire)

    @cached_property
    def _pieces(self) -> FileInPieces:  # not loaded by a run that has nothing to do
        from orchestrator.engines.postgres.file_in_pieces import FileInPieces

        return FileInPieces(self.connection, self.target, self._tables, self._wire)

    @property
    def records(self) -> tuple[str, str]:
        """The version table and the history, as SQL names; they are known once the history was read."""
        return self._tables.version_table, self._tables.history

    def read_history(self, extensions: Sequence[str] = ()) -> History:
        """Read history and version table in one snapshot."""
        read, looked = self._read, self._looked
        self._read, self._looked = None, False
        if read is not None and not extensions:
            return read
        if not looked:
            if found := self._tables.look_and_read(extensions):
                return found.history
            self._tables.look()
        return self._tables.read(extensions)

    @contextmanager
    def lock(self, wait: float, on_wait: Callable[[LockHolder], None]) -> Iterator[None]:
        """Take golang-migrate's advisory lock, by trying: a waiter inside a statement would hold a snapshot open."""
        self._pieces.settings = own_settings(self.connection.info.server_version, self.connection.info.options)
        deadline = time.monotonic() + wait
        taken = self._lock.take_on_trust(self._pieces) if self._tables.schema is None else None
        if taken is None:
            if self._tables.schema is None:
                self._tables.look()
            self._lock.refuse_pooler()  # behind a pooler our settings would stay in sessions of others
        key, self._read = taken or self._lock.take(deadline, wait, on_wait, self._pieces)
        while not (self._tables.complete or taken):
            self._tables.look(elsewhere=self._tables.moved)  # whoever held the lock may have created the tables since
            if self._tables.lock_key() == key:
                break
            self._lock.give_back()
            key, self._read = self._lock.take(deadline, wait, on_wait, self._pieces)
        self._looked = True
        self.connection.add_notice_handler(self._wire.take_message)
        # Held twice: that one can be given back and taken again tells, with no gap, that nobody gave both away.
        self._pieces.writer.lock_held = (
            f"pg_catalog.pg_advisory_unlock({key}) AND pg_catalog.pg_try_advisory_lock({key})"
        )
        try:
            yield
        finally:
            self.connection.remove_notice_handler(self._wire.take_message)
            self._pieces.unlocked()
            self._read = None
            with suppress(psycopg.Error):  # closing the connection gives it away too
                self._lock.give_back()

    def release_with_commit(self) -> None:
        """Give the lock back in the message that finishes the next file, if that is one message."""
        self._lock.last = True

    def holder(self) -> LockHolder | None:
        """Return who holds the advisory lock."""
        self._tables.look()
        return self._lock.holder(self._tables.lock_key())

    def look(self, extensions: Sequence[str] = ()) -> tuple[History, LockHolder | None]:
        """Read the history and the holder of the lock in one round trip."""
        if found := self._tables.look_and_read(extensions, asks_holder):
            return found.history, holder_of(found.first)
        self._tables.look()
        key = self._tables.lock_key()
        if not self._tables.complete:
            return self._tables.read(extensions), self._lock.holder(key)
        answer = self._tables.read_after(asks_holder(key), extensions)
        return answer.history, holder_of(answer.first)

    def unlock(self, holder: LockHolder, *, terminate: bool = False) -> None:
        """End the session: an advisory lock goes with its own, so there is never a dead one."""
        self._lock.end(holder, terminate=terminate)

    def take_over(self) -> None:
        """Make the records of a database that was just made of a template its own."""
        self._tables.look()
        self._tables.take_over()

    def keep(self) -> None:
        """Let the next session on this database have the connection."""
        self.kept = True

    def prepare(self, extensions: Sequence[str]) -> None:
        """CREATE EXTENSION for each."""
        for name in extensions:
            with errors.mapped(self.connection, self.target):
                self.connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))

    def commits(self, statement: Statement) -> bool:
        """Whether the statement may stand in a transaction block."""
        return statement.atomic

    def commits_together(self, script: Script) -> bool:
        """Whether the file may be one transaction."""
        return script.atomic

    def commit(
        self,
        statements: Sequence[Statement],
        attempts: Sequence[Attempt],
        version_row: VersionRow | None,
        limits: Limits,
        checks: Checks = NO_CHECKS,
    ) -> None:
        """Send BEGIN, the statements, the records and COMMIT as one simple-query message: one round trip.

        Checks are messages of their own: whether they are met is seen before anything else is sent.
        """
        self._read = None
        if self._tables.schema is None:
            self._tables.look()
        if self._pieces.limits is not None:
            self._pieces.commit(self._pieces.limits, statements, attempts, version_row)
            return
        if statements:
            self._pieces.writer.guard.look_for_other_sets()
        self._wire.refuse_misread(statements, whole=True)
        # What the file before may have left goes first, and is committed first: what fails there has done nothing.
        clean = f"BEGIN; {RESET_SESSION}; {self._pieces.set_again}COMMIT; " if self._pieces.used and statements else ""
        if self.target.scratch and statements:
            # Apart, so that pg_stat_activity, which shows the first 1,024 characters of a message, shows the file's.
            from orchestrator.engines.postgres.shared_catalogs import REMEMBER

            self._wire.send(Message(clean + REMEMBER))
            clean = ""
        limits = limits_together(statements, limits)
        message = Message(f"{clean}BEGIN; {set_limits('SET LOCAL', limits)}")
        if statements:
            # The isolation level must be set before any query; the file's own statement then sets what is set already.
            first = statements[0].body.lstrip()
            if first.upper().startswith("SET TRANSACTION ") and (table := self._tables.create_version_table()):
                message.put(f"{first.rstrip().rstrip(';')};\n{table}")
            else:
                message.put(self._tables.create_version_table())
        with timed(limits), self._wire.whole_or_nothing():
            message = self._wire.ask_between(message, checks.before)
            message = self._wire.put_file(message, statements)
            message = self._wire.ask_between(message, checks.after)
            if statements:
                self._pieces.refuse_beyond(message)
                message.put(
                    f"{carried.END_OF_FILE}{RESET}; {self._pieces.set_again}SET LOCAL client_min_messages = warning; "
                )
            self._pieces.writer.put(message, attempts, version_row, after_file=bool(statements))
            self._lock.give_back_with(message, attempts)
            self._lock.given_back(self._wire.send(message))
        if clean:
            self._pieces.used = False
        if attempts and all(attempt.done for attempt in attempts):
            self._pieces.used = True
        self._tables.written(attempts, version_row)

    def kept_texts(self, version: int | None = None) -> Mapping[tuple[int, int], str]:
        """Read the column of the texts, which the history is read without."""
        self._tables.look()
        return self._kept.texts(version)

    def ask(self, check: Statement, limits: Limits) -> None:
        """Ask a check in a read-only transaction of its own."""
        from orchestrator.engines.postgres.checks import alone, judge_results

        self._wire.refuse_misread((check,), whole=True)
        message = alone(check, limits)
        with timed(limits):
            judge_results(check, message, self._wire.send(message))

    def select(self, query: Statement, limits: Limits, most: int) -> Rows:
        """Read the rows of a query in a read-only transaction of its own."""
        from orchestrator.engines.postgres.checks import rows_of, selecting

        self._wire.refuse_misread((query,), whole=True)
        message = selecting(query, limits, most)
        with timed(limits):
            return rows_of(self._wire.send(message))

    def begin(self, attempt: Attempt, statements: Sequence[Statement], limits: Limits) -> None:
        """Make the session what the statements above these left; nothing to do if it is they that ran in it."""
        if self._pieces.limits is None:
            self._read = None
            self._pieces.begin(attempt, statements, limits)

    def execute(self, statement: Statement, limits: Limits) -> None:
        """Run one statement alone, outside of any transaction block."""
        from orchestrator.engines.postgres.probe import resumed  # only files that are not one transaction come here

        with self._pieces.alone(statement, limits) as limits:
            with errors.mapped(self.connection, self.target) as failing:
                failing.at = statement, None
                body = resumed(self.connection, statement)
            message = Message("")
            message.add(statement, terminator="", body=body)
            with timed(limits):
                self._wire.send(message)  # alone: a second statement in the message would make it a transaction block

    def probe(self, statement: Statement, limits: Limits) -> tuple[Effect, str]:
        """Look in the catalogue what became of the statement."""
        from orchestrator.engines.postgres.probe import probe

        # Its names are looked up as it did, and debris is not waited for longer than it would have waited itself.
        with self._pieces.alone(statement, limits), errors.mapped(self.connection, self.target) as failing:
            failing.at = statement, None
            return probe(self.connection, statement)

    def messages(self) -> list[tuple[str, str]]:
        """Return the WARNINGs, NOTICEs and INFOs of the files, as of RAISE."""
        return self._wire.messages()

    @contextmanager
    def watch(self) -> Iterator[Callable[[], Activity]]:
        """Ask pg_blocking_pids and the views of progress over a connection of its own."""
        try:
            other = psycopg.connect(self.target.url.reveal(), autocommit=True, connect_timeout=CONNECT_TIMEOUT)
        except psycopg.Error:
            yield Activity
            return
        try:
            yield watching(other, self._tables.server_pid)
        finally:
            other.close()

    def schema_snapshot(self) -> SchemaSnapshot:
        """Read the catalogue."""
        from orchestrator.engines.postgres.schema_snapshot import schema_snapshot

        self._tables.look()
        with errors.mapped(self.connection, self.target):
            ours = (self._tables.version_table, self._tables.history, self._kept.table)
            return schema_snapshot(self.connection, ours)

    def server(self) -> str:
        """Return the major version."""
        return f"postgres {self.connection.info.server_version // 10_000}"

    def vitals(self) -> Vitals:
        """Ask for the time and the rights of this login, and whether a pooler is in between."""
        from orchestrator.engines.postgres.vitals import vitals

        self._tables.look()
        with errors.mapped(self.connection, self.target):
            found = vitals(self.connection, self._tables.version_table, self._tables.history, self._kept.table)
        if self._tables.server_pid == self.connection.info.backend_pid:
            return found
        try:
            self._lock.refuse_pooler()
        except LockError as error:
            return found._replace(problems=(f"{error.what}: {error.hint}", *found.problems))
        return found._replace(notes=(*found.notes, "a pooler in session mode is in between"))

    def kept_snapshot(self) -> str:
        """Read the row of the table beside the history."""
        self._tables.look()
        return self._kept.snapshot()

    def keep_snapshot(self, text: str) -> None:
        """Make the table beside the history, and write its one row."""
        self._kept.keep(text)

    def is_bare(self, schema_object: SchemaObject) -> bool:  # noqa: ARG002 - PostgreSQL makes nothing by itself
        """Return False: nothing is there that no statement made."""
        return False

    def cancel(self) -> None:
        """Cancel on the server, over a connection of its own."""
        self._wire.cancelled = True
        with suppress(psycopg.Error):
            self.connection.cancel_safe(timeout=5)
