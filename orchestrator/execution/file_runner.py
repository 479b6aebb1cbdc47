"""Run one migration file: as one transaction with its record, or statement by statement, each recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from orchestrator.engines.base import Effect, Limits, Session
from orchestrator.engines.url import LOCK_TIMEOUT
from orchestrator.errors import ConflictError, InterruptedRunError, OrchError, StatementError, TransactionRefusedError
from orchestrator.events import Notice, StatementDone, StatementStarted
from orchestrator.execution.history_writer import HistoryWriter
from orchestrator.execution.run import Run, number
from orchestrator.execution.smaller_pieces import SmallerPieces
from orchestrator.hints import Command, Hint
from orchestrator.model import Attempt, Checks, Mark, Script, Statement, VersionRow
from orchestrator.planning.attempts import (
    Prefixes,
    prefix_landed,
    version_row_after,
    version_row_during,
)
from orchestrator.planning.problems import IN_DOUBT
from orchestrator.records import dataclass, replace

_TABLE_LOCKS = 10.0
"""Seconds that a file waits for the locks of tables if nobody says how long."""
_MAX_BEGINNING = 200
"""So many characters of a statement are told when it begins."""


def limits_of(run: Run, id: str, script: Script | None) -> Limits:
    """The file's own header wins over the manifest, and that over `x-statement-timeout` and `lock_timeout` of the DSN."""
    settings = run.databases[id].settings
    if script is None:
        return Limits()
    lock = settings.lock_timeout if script.lock_timeout is None else script.lock_timeout
    lock = number(run.targets[id], LOCK_TIMEOUT, _TABLE_LOCKS) if lock is None else lock
    lock_try = settings.lock_try if script.lock_try is None else script.lock_try
    statement = settings.statement_timeout if script.statement_timeout is None else script.statement_timeout
    if statement is None:
        statement = number(run.targets[id], "x-statement-timeout", 0) / 1000 or None
    return Limits(lock, lock_try, statement)


@dataclass(frozen=True, slots=True)
class FileRunner:
    """Runs files of one database over one session. `tell_messages` passes on what the server said, with a version and a path."""

    run: Run
    id: str
    session: Session
    history_writer: HistoryWriter
    pieces: SmallerPieces
    tell_messages: Callable[[int, str], None]

    def run_file(self, attempt: Attempt, script: Script | None) -> Attempt:
        """Run what is left of a file and return its finished attempt."""
        after = version_row_after(self.history_writer.applied, attempt.version, attempt.direction)
        if script is None or not (script.statements or any(script.checks)):
            return self._commit((), attempt._replace(done=True, in_flight=False), after, Limits())
        limits = limits_of(self.run, self.id, script)
        statements = script.statements
        fresh = not attempt.applied and not attempt.in_flight
        if fresh and self.pieces.commits_together(self.session, attempt.version, script):
            done = attempt._replace(applied=len(statements), done=True)
            try:
                return self._commit(statements, done, after, limits, script.checks)
            except TransactionRefusedError as error:
                if not error.outside or len(statements) > 1:
                    raise
        return self._run_statements(attempt, script, limits, after)

    def _run_statements(
        self,
        attempt: Attempt,
        script: Script,
        limits: Limits,
        after: VersionRow,
    ) -> Attempt:
        during = version_row_during(self.history_writer.applied, attempt.version, attempt.direction)
        total = len(script.statements)
        prefixes = Prefixes(script)
        if not attempt.applied and not attempt.in_flight:
            for check in script.checks.before:
                self.session.ask(check, limits)
        if attempt.applied < total:
            self.session.begin(attempt, script.statements[attempt.applied :], limits)
        for index in range(attempt.applied, total):
            if self.run.cancelled.is_set():
                raise InterruptedRunError("cancelled between two statements")
            statement = script.statements[index]
            beginning = " ".join(statement.source[:_MAX_BEGINNING].split())
            self.run.sink(StatementStarted(self.id, attempt.version, index, total, beginning))
            progress = attempt._replace(
                applied=index + 1,
                in_flight=False,
                prefix=prefixes.checksum(index + 1),
                done=index + 1 == total and not script.checks.after,
                error="",
            )
            version_row = after if progress.done else during
            committed = not attempt.in_flight and self.pieces.commits(self.session, attempt.version, statement)
            if committed:
                try:
                    attempt = self._commit((statement,), progress, version_row, limits)
                except TransactionRefusedError as error:
                    if not error.outside:
                        raise
                    committed = False
            if not committed:
                attempt = self._run_alone(attempt, script, index, limits, during, prefixes)
                attempt = self._commit((), progress, version_row, limits)
            self.tell_messages(attempt.version, script.file.path)
            self.run.sink(StatementDone(self.id, attempt.version, index + 1, total))
        if not attempt.done:  # every statement was recorded, and only its checks and the last record are missing
            for check in script.checks.after:
                self.session.ask(check, limits)
            attempt = self._commit((), attempt._replace(done=True), after, limits)
        return attempt

    def _run_alone(
        self,
        attempt: Attempt,
        script: Script,
        index: int,
        limits: Limits,
        during: VersionRow,
        prefixes: Prefixes,
    ) -> Attempt:
        """Run a statement that cannot commit with its record: intent first; if one is found, ask what became of it."""
        # One that the server refused inside a transaction comes here too.
        statement = replace(script.statements[index], atomic=False)
        if attempt.in_flight:
            effect, facts = self.session.probe(statement, limits)
            self.run.sink(Notice(self.id, f"{_place(script, statement)} was cut off: {facts}"))
            if effect is Effect.DONE:
                return attempt
            if effect is Effect.UNKNOWN:
                doubt = f"{IN_DOUBT}: {facts}"
                self._commit((), attempt._replace(error=doubt), during, limits)
                raise ConflictError(
                    f"{self.id} is in doubt at statement {index + 1} of version {attempt.version}",
                    where=Mark(script.file.path, statement.line),
                    detail=facts,
                    hint=Hint("look whether it was done, then: ", Command("repair", self.id)),
                )
        elif self.session.probe(statement, limits)[0] is not Effect.DONE:
            # If it was DONE before it began, another session did it. No intent is recorded then: a later run would take it for
            # ours. The server refuses the statement, or does nothing.
            begun = attempt._replace(in_flight=True, prefix=prefixes.in_flight(index), error="")
            attempt = self._commit((), begun, during, limits)
        try:
            self.session.execute(statement, limits)
        except StatementError as error:
            # After a cancel, nobody waits until remains of the statement are removed: the next run does that.
            if attempt.in_flight and not error.partly and not self.run.cancelled.is_set():
                with suppress(OrchError):  # debris that cannot be cleared yet: the next try looks again
                    if self.session.probe(statement, limits)[0] is Effect.DONE:
                        return attempt
                    self.history_writer.note(
                        attempt._replace(in_flight=False, prefix=prefix_landed(attempt, done=False))
                    )
            raise
        return attempt

    def _commit(
        self,
        statements: Sequence[Statement],
        attempt: Attempt,
        version_row: VersionRow,
        limits: Limits,
        checks: Checks | None = None,
    ) -> Attempt:
        # The texts come with the last record, not with that of every statement.
        written = [attempt if attempt.done else attempt._replace(texts="")]
        if checks and any(checks):
            self.session.commit(statements, written, version_row, limits, checks)
        else:
            self.session.commit(statements, written, version_row, limits)
        self.history_writer.note(attempt)
        return attempt


def _place(script: Script, statement: Statement) -> str:
    return f"{script.file.path}:{statement.line}"
