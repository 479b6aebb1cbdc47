"""One session on one database, over one connection: the lock and all that it protects go with it.

What changes rows of InnoDB commits together with its record. What changes the schema commits by itself: its intent is
recorded before it with a fingerprint of what it names (`probe`), its end after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.constants import SERVER_STATUS

from orchestrator.engines.base import Effect, Limits, Rows
from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.checks import refuse_writing
from orchestrator.engines.mysql.connection import Stopper, ask, ask_all
from orchestrator.engines.mysql.failed import is_partly_done
from orchestrator.engines.mysql.file_state import FileState, to_replay
from orchestrator.engines.mysql.guard import Guard
from orchestrator.engines.mysql.intents import Intents
from orchestrator.engines.mysql.kept_rows import keeping_records
from orchestrator.engines.mysql.lock import NamedLock
from orchestrator.engines.mysql.looks import Looks
from orchestrator.engines.mysql.reader import DATA, is_session, words_of
from orchestrator.engines.mysql.record_writer import RecordWriter
from orchestrator.engines.mysql.records import Records
from orchestrator.engines.mysql.store import Written
from orchestrator.engines.mysql.transactional import Tables
from orchestrator.engines.mysql.wire import Wire
from orchestrator.errors import OrchError, StatementError
from orchestrator.model import (
    NO_CHECKS,
    Attempt,
    Checks,
    History,
    LockHolder,
    Script,
    Statement,
    Target,
    VersionRow,
)

if TYPE_CHECKING:
    from orchestrator.engines.mysql.refusals import Refusals


class MysqlSession(Looks):
    """The verbs of `engines.base.Session`."""

    tells_of_lock = False

    def __init__(self, connection: Any, target: Target, who: str) -> None:
        records = Records(target)
        super().__init__(connection, target, records, NamedLock(connection, target, records, who))
        self._stopper = Stopper(target, connection)
        self._wire = Wire(connection, target, self._stopper)
        self._guard = Guard(connection, target, self._records)
        self._state = FileState(connection)
        self._writer = RecordWriter(connection, target, self._records, self._store, self._guard)
        self._intents = Intents(connection)
        self._tables = Tables(connection, self._records.lock_table)
        self._in_file = False  # a file runs statement by statement

    @cached_property
    def _refusals(self) -> Refusals:
        from orchestrator.engines.mysql.refusals import Refusals

        return Refusals(self.connection, self.target)

    def read_history(self, extensions: Sequence[str] = ()) -> History:
        """Return what the database remembers, both tables as they were at one moment."""
        history = super().read_history(extensions)
        is_empty = not history.store and history.version_row is None and not history.unrecorded
        self._guard.is_alone = is_empty and self.connection.is_new and self._lock.held
        return history

    # ------------------------------------------------------------ the lock

    @contextmanager
    def lock(self, wait: float, on_wait: Callable[[LockHolder], None]) -> Iterator[None]:
        """Hold golang-migrate's lock; LockError after `wait` seconds."""
        with self._lock.taken(wait, on_wait):
            try:
                yield
            finally:
                with suppress(OrchError):  # the next run can also see it in the schema
                    self._write_what_is_kept()

    def unlock(self, holder: LockHolder, *, terminate: bool = False) -> None:
        """End the session of the holder, if that is asked for; LockError else."""
        self._lock.unlock(holder, terminate=terminate)

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
        self._lock.tell_if_long()
        if not statements and self._lock.held and self._intents.tells_progress(attempts):
            self._writer.keep(attempts[0], version_row)
            self._recorded(attempts)
            return
        if statements or not self._writer.is_included_in(attempts):
            self._write_what_is_kept()
        self._refuse(statements)
        if statements or any(checks):
            with errors.mapped(self.target):
                self._store.get_ready()
        if statements and not self._in_file:
            self._clean()
            self._watch_marks(statements)
            self._wire.set_limits(limits)
        refuse_writing(self.connection, self.target, self._wire, checks, limits)
        written = [(attempt, self._intents.recorded_with(attempt)) for attempt in attempts]
        with self._undone_on_error():
            if statements or any(checks):
                self._run_and_record(statements, written, version_row, limits, checks)
            else:
                self._writer.commit(written, version_row, self._lock.is_ours(), look=self._may_write())
        self._recorded(attempts)

    def _run_and_record(
        self,
        statements: Sequence[Statement],
        written: Written,
        version_row: VersionRow | None,
        limits: Limits,
        checks: Checks,
    ) -> None:
        is_file = bool(statements) and self._lock.held
        # SET TRANSACTION and the like have a meaning before BEGIN only, and no query may come between them.
        first = next((at for at, one in enumerate(statements) if not is_session(words_of(one.source))), len(statements))
        begin = ["START TRANSACTION"]  # BEGIN is something else in sql_mode ORACLE
        if is_file:
            begin.append(errors.stop_unless([self._lock.is_ours()]))
        with self._lock.needed():
            if is_file:
                self._guard.begin(() if first else begin)
        for statement in statements[:first]:
            self._run(statement, limits)
        with self._lock.needed():
            if first or not is_file:
                ask_all(self.connection, begin)
        for check in checks.before:
            self._wire.judge_in_file(check, limits)
        for statement, following in zip_longest(statements[first:], statements[first + 1 :]):
            self._run(statement, limits, following)
            self._wire.check_in_transaction(statement)
        for check in checks.after:
            self._wire.judge_in_file(check, limits)
        self._writer.end(written, version_row, self._lock.is_ours(), is_file=is_file)

    def _recorded(self, attempts: Sequence[Attempt]) -> None:
        """Take note of what is recorded."""
        if attempts and not any(attempt.in_flight for attempt in attempts):
            self._intents.forget()
        if attempts and all(attempt.done or attempt.error for attempt in attempts):
            self._in_file = False

    def _write_what_is_kept(self) -> None:
        with self._undone_on_error():
            self._writer.write_what_is_kept(self._lock.is_ours())

    @contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        try:
            with errors.mapped(self.target):
                yield
        except BaseException:
            self._guard.forget()
            with suppress(pymysql.Error, OSError, RuntimeError):
                ask(self.connection, "ROLLBACK")
            raise

    def _may_write(self) -> bool:
        """Whether the statement that was begun may write to our tables."""
        return self._intents.source is not None and self._guard.may_write(self._intents.source)

    def ask(self, check: Statement, limits: Limits) -> None:
        """Ask a check in a transaction that cannot change anything."""
        with self._read_only():
            self._wire.judge(check, limits)

    def select(self, query: Statement, limits: Limits, most: int) -> Rows:
        """Read the rows of a query in a transaction that cannot change anything."""
        with self._read_only():
            return self._wire.rows_of(query, limits, most)

    @contextmanager
    def _read_only(self) -> Iterator[None]:
        self._write_what_is_kept()
        with errors.mapped(self.target):
            ask(self.connection, "START TRANSACTION READ ONLY")
        try:
            yield
        finally:
            with suppress(pymysql.Error, OSError):
                ask(self.connection, "ROLLBACK")

    def begin(self, attempt: Attempt, statements: Sequence[Statement], limits: Limits) -> None:
        """Get ready to run what is left of a file statement by statement: what it has set above counts again."""
        if self._in_file:
            return
        self._clean()
        self._refuse(statements)
        self._refusals.check_between(statements, resumed=attempt.applied > 0)
        replayed = to_replay(self.target.database_id, statements) if attempt.applied and statements else []
        self._watch_marks(statements, replayed)
        self._wire.set_limits(limits)
        self._in_file = True
        for setting in replayed:
            with errors.mapped(self.target):
                ask(self.connection, setting)
        if attempt.in_flight and statements:
            with errors.mapped(self.target):
                self._intents.resume(statements[0], self._store.fingerprint_of(attempt))

    def execute(self, statement: Statement, limits: Limits) -> None:
        """Run one statement that commits by itself."""
        self._write_what_is_kept()
        self._refuse((statement,))
        if not self._in_file:
            self._clean()
            self._watch_marks((statement,))
            self._wire.set_limits(limits)
        self._tables.forget()
        held = self._lock.is_ours()
        with keeping_records(self.connection, self.target, self._records, self._guard, statement, held):
            self._execute(statement, limits)

    def _execute(self, statement: Statement, limits: Limits) -> None:
        intent = self._intents.of(statement)
        body = statement.body
        if intent:
            with errors.mapped(self.target):
                body = intent.body(self.connection)
        self._refuse_texts(statement)
        try:
            self._wire.run(statement, limits, body)
        except StatementError as error:
            error.partly = is_partly_done(self.connection, error, intent)
            raise
        if intent:
            self._guard.note_created(intent.created())
        if self.connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS:
            with suppress(pymysql.Error, OSError):
                ask(self.connection, "ROLLBACK")
            raise StatementError(
                "the statement left a transaction open, which was rolled back",
                statement=statement,
                hint="let the procedure COMMIT what it begins",
                partly=True,
            )
        if self._lock.held and self._guard.may_write(statement.source):
            with errors.mapped(self.target):
                self._guard.check(statement)

    def probe(self, statement: Statement, limits: Limits) -> tuple[Effect, str]:
        """Find out what became of a statement; the first time before it runs, when it has done nothing yet."""
        del limits
        with errors.mapped(self.target):
            return self._intents.probe(statement)

    def commits(self, statement: Statement) -> bool:
        """Whether this statement can commit together with its record: all tables that it reaches are of InnoDB."""
        if not statement.atomic:
            return False
        words = words_of(statement.source)
        if words[0] not in DATA:
            return True
        with errors.mapped(self.target):
            return self._tables.are_transactional(str(statement.body), self.target.database)

    def commits_together(self, script: Script) -> bool:
        """Whether a whole file can commit in one transaction."""
        return script.atomic and all(map(self.commits, script.statements))

    def messages(self) -> list[tuple[str, str]]:
        """Return the warnings and notes of the files."""
        return self._wire.messages()

    def cancel(self) -> None:
        """End the running statement on the server."""
        self._stopper.stop()

    # ------------------------------------------------------------ what these methods use

    def _run(self, statement: Statement, limits: Limits, following: Statement | None = None) -> None:
        self._refuse_texts(statement)
        asked = following and self._refusals.look_back(following)
        self._wire.run(statement, limits, with_warnings=not asked)

    def _refuse_texts(self, statement: Statement) -> None:
        with errors.mapped(self.target, statement):
            self._guard.refuse_texts(statement)

    def _refuse(self, statements: Sequence[Statement]) -> None:
        """Refuse what must not run here, before any of these has run."""
        if not statements:
            return
        self._refusals.check(statements)
        with errors.mapped(self.target):
            if not self._in_file:
                self._guard.look()
            self._guard.refuse(statements)

    def _watch_marks(self, statements: Sequence[Statement], more: Sequence[str] = ()) -> None:
        with errors.mapped(self.target):
            self._state.watch([*more, *(each.source for each in statements)])

    def _clean(self) -> None:
        """Put the session back to what it was before a file."""
        with errors.mapped(self.target):
            if self._state.put_back():
                self._wire.forget_limits()
        self._in_file = False
