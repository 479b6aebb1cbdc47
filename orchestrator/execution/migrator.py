"""How one database is migrated: the algorithm, written once for every engine.

First, create the database if it is missing, connect and take the lock. Then read the history again: what it says, not what
the plan remembers, decides what is still to do. Write down what golang-migrate did meanwhile. Then run the files one by
one. A file that can be one transaction commits together with its record and the pointer. Of any other, each statement
that can commits with its progress; for one that cannot, the intent is recorded before and the end after it, and a later
run asks the database what became of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import replace

from orchestrator.engines.base import MAX_MESSAGES, Effect, Limits, Session
from orchestrator.errors import (
    ConflictError,
    ConnectError,
    ConnectionLostError,
    CreationRefusedError,
    InterruptedRunError,
    LockError,
    OrchError,
    SessionEndedError,
    StalePlanError,
    StatementError,
    TransactionRefusedError,
    excerpt,
)
from orchestrator.events import (
    MAX_WHAT,
    Adopted,
    DatabaseCreated,
    LockWaiting,
    Notice,
    Redact,
    ServerMessage,
    StatementDone,
    StepFinished,
    StepRetrying,
    StepStarted,
    hidden,
)
from orchestrator.execution.history_writer import HistoryWriter
from orchestrator.execution.run import Run, lock_wait, number
from orchestrator.execution.smaller_pieces import SmallerPieces
from orchestrator.execution.tries import Tries
from orchestrator.hints import Command, Hint, joined
from orchestrator.model import Attempt, Checks, Direction, Mark, Script, Statement, VersionRow
from orchestrator.planning.attempts import (
    pointer_after,
    pointer_during,
    prefix_checksum,
    prefix_in_flight,
    prefix_landed,
    resumable,
)
from orchestrator.planning.history import State, reconcile
from orchestrator.planning.plan import DatabasePlan, Step, remaining
from orchestrator.planning.problems import IN_DOUBT

RECONNECTS = 5
RUNS_OF_A_FILE = 3  # in which the connection broke
FIRST_PAUSE = 0.5  # seconds; doubled at every retry
MAX_ERROR_CHARACTERS = 2_000


class Migrator:
    """Takes one database along its plan, in one thread, from connecting to unlocking.

    `applied` counts the steps that this run made, `version` is where the database stands.
    """

    def __init__(
        self, run: Run, planned: DatabasePlan, registered: Callable[[Session], AbstractContextManager[None]]
    ) -> None:
        self._run = run
        self._planned = planned
        self._registered = registered
        self._id = planned.id
        self._database = run.databases[planned.id]
        self._target = run.targets[planned.id]
        self._engine = run.engines[self._target.engine]
        self._files = {migration.version: migration for migration in run.catalogs[planned.id]}
        self._settings = self._database.settings
        self._running: Step | None = None
        self._broken: dict[int, int] = {}  # version → how often the connection broke while its file ran
        self._tries: dict[int, Tries] = {}
        self._told: dict[tuple[int, bool], int] = {}  # of each version: its WARNINGs, and the server's other messages
        self._pieces = SmallerPieces()
        self.version: int | None = planned.version
        self.applied = 0

    def migrate(self) -> None:
        """Do what the plan says for this database. Raises whatever stopped it."""
        self._refuse_changed_files()
        missing = self._planned.create
        lost = 0
        while True:
            try:
                if missing:
                    self._create()
                    missing = False
                self._connected()
            except _LetGoError as again:
                self._run.stop.wait(again.pause)
            except SessionEndedError as error:
                self._record_ended(error)
                raise
            except ConnectionLostError as error:
                if lost == RECONNECTS or self._run.stop.is_set():
                    raise
                if self._running:
                    self._refuse_to_run_again(self._running, error)
                    self._running = None
                pause = FIRST_PAUSE * 2**lost
                lost += 1
                self._run.sink(Notice(self._id, f"the connection broke; asking the database again in {pause:g} s"))
                self._run.stop.wait(pause)
            else:
                return

    def _refuse_to_run_again(self, step: Step, lost: ConnectionLostError) -> None:
        """Raise if the connection broke in the middle of this file as often as is enough: it may be what breaks it."""
        self._broken[step.version] = self._broken.get(step.version, 0) + 1
        if self._broken[step.version] < RUNS_OF_A_FILE:
            return
        error = ConnectionLostError(
            f"the connection broke each of {RUNS_OF_A_FILE} times that {step.path or f'version {step.version}'} ran",
            where=Mark(step.path) if step.path else None,
            detail=lost.detail,
            hint="look in the log of the server: the file may end its own session, or be too much for the server",
        )
        self._record_ended(error)
        raise error

    def _record_ended(self, error: OrchError) -> None:
        """Record over a new connection that the running file failed, unless it did what it should."""
        step, self._running = self._running, None
        if step is None or step.version not in self._files:
            return
        with (
            suppress(OrchError),
            self._engine.connect(self._target) as session,
            session.lock(lock_wait(self._target, self._run.lock_timeout), self._on_wait),
        ):
            history = session.read_history(self._planned.extensions)
            state = reconcile(tuple(self._files.values()), history, out_of_order=self._settings.out_of_order)
            history_writer = HistoryWriter(self._run, history, state)
            if (step.version in history_writer.applied) is (step.direction is Direction.UP):
                return
            migration = self._files[step.version]
            file = migration.file(step.direction)
            script = self._run.read_script(self._database, file) if file else None
            self._record_failure(
                session, history_writer, history_writer.begin(migration, step.direction, script), error
            )

    def _create(self) -> None:
        if not self._settings.create and not self._target.scratch:
            raise CreationRefusedError(
                f"the plan creates '{self._target.database}' on {self._target.endpoint}, and it must not be created",
                hint=f"nothing was run on {self._id}; make the plan again",
            )
        try:
            created = self._run.when_ready(self._id, lambda: self._engine.create(self._target, self._database.create))
        except StatementError as error:
            raise error.completed(where=self._database.mark) from error
        self._run.sink(DatabaseCreated(self._id, by_other=not created))

    def _refuse_changed_files(self) -> None:
        """A saved plan names the checksums of its files; they must still be those on disk."""
        for step in self._planned.steps:
            migration = self._files.get(step.version)
            file = migration.file(step.direction) if migration else None
            if (file.checksum if file else "") != step.checksum:
                raise StalePlanError(
                    f"{step.path or f'version {step.version}'} changed after the plan was made",
                    hint=f"nothing was run on {self._id}; make the plan again",
                )

    def _connected(self) -> None:
        try:
            with self._engine.connect(self._target) as session, self._registered(session):
                taken = False
                try:
                    with ExitStack() as held:
                        with Tries(self._run.redact).watched(
                            session, lambda what: self._tell_waiting("the lock", what)
                        ):
                            wait = lock_wait(self._target, self._run.lock_timeout)
                            held.enter_context(session.lock(wait, self._on_wait))
                        taken = True
                        self._locked(session)
                except LockError:
                    if taken or not self._is_done(session):
                        raise
                    self._run.sink(Notice(self._id, "the holder of the lock has meanwhile done what was planned"))
        except ConnectError as error:
            if error.transient:  # the survey reached it a moment ago: it went away, and may come back
                raise ConnectionLostError(error.what, detail=error.detail, hint=error.hint) from None
            raise

    def _is_done(self, session: Session) -> bool:
        """Whether whoever holds the lock has brought the database where the plan wants it."""
        if not self._planned.steps:
            return False
        history = session.read_history(self._planned.extensions)
        migrations, out_of_order = tuple(self._files.values()), self._settings.out_of_order
        try:
            if remaining(self._planned, migrations, history, out_of_order):
                return False
        except StalePlanError:
            return False
        self.version = reconcile(migrations, history, out_of_order=out_of_order).version
        return True

    def _tell_waiting(self, who: str, for_what: str) -> None:
        self._run.sink(Notice(self._id, hidden(f"{who} waits: {for_what}", MAX_WHAT, self._run.redact)))

    def _on_wait(self, holder: object) -> None:
        if self._run.stop.is_set():
            raise InterruptedRunError("stopped while waiting for the lock")
        self._run.sink(LockWaiting(self._id, getattr(holder, "description", "")))

    def _locked(self, session: Session) -> None:
        history = session.read_history(self._planned.extensions)
        steps = remaining(self._planned, tuple(self._files.values()), history, self._settings.out_of_order)
        session.prepare([name for name in self._planned.extensions if name not in history.extensions])
        state = reconcile(tuple(self._files.values()), history, out_of_order=self._settings.out_of_order)
        history_writer = HistoryWriter(self._run, history, state)
        self._follow_golang_migrate(session, history_writer, state)
        self.version = history_writer.version
        for step in steps:
            if self._run.stop.is_set():
                raise InterruptedRunError("stopped between two migrations")
            self._step(session, history_writer, step)
            self.applied += 1
            self.version = history_writer.version

    def _follow_golang_migrate(self, session: Session, history_writer: HistoryWriter, state: State) -> None:
        """Write down what golang-migrate did since we last looked, and give the version table back if somebody dropped it."""
        attempts = [history_writer.adopted(self._files[version], Direction.UP) for version in state.adopt]
        attempts += [history_writer.forgotten(version) for version in state.forget]
        for attempt in attempts:
            history_writer.note(attempt)
        if attempts or state.pointer_stale:
            session.commit((), attempts, history_writer.version_row(state) if state.pointer_stale else None, Limits())
        for versions, direction in ((state.adopt, Direction.UP), (state.forget, Direction.DOWN)):
            if versions:
                self._run.sink(Adopted(self._id, versions, direction))

    def _step(self, session: Session, history_writer: HistoryWriter, step: Step) -> None:
        """Run one file, trying again what passes by itself."""
        migration = self._files[step.version]
        file = migration.file(step.direction)
        script = self._run.read_script(self._database, file) if file else None
        started = time.monotonic()
        self._run.sink(StepStarted(self._id, step.version, step.name, step.direction, step.first, step.statements))
        attempt = history_writer.begin(migration, step.direction, script)
        if script is not None and not resumable(attempt, script):
            raise StalePlanError(
                f"version {step.version} stopped half way after the plan was made, and what ran is not what is in {step.path}",
                where=Mark(step.path),
                hint=Hint(
                    f"nothing was run on {self._id}; was it another branch? Make the plan again, and see: ",
                    Command("status"),
                ),
            )
        tries = self._tries.setdefault(step.version, Tries(self._run.redact))
        self._running = step
        turn: AbstractContextManager[object] = nullcontext()
        while True:
            try:
                with turn, tries.watched(session, lambda what: self._tell_waiting(step.path, what)):
                    attempt = self._run_file(session, history_writer, attempt, script)
                break
            except StatementError as caught:
                attempt = history_writer.latest(attempt)
                self._tell_messages(session, step.version, step.path)
                if self._run.cancelled.is_set():  # then the server's words tell of that alone
                    self._record_failure(session, history_writer, attempt, InterruptedRunError("cancelled by a signal"))
                    raise InterruptedRunError("cancelled") from None
                error = tries.explained(_located(caught, script, self._run.redact))
                ways = [error.hint, _what_next(attempt, script), self._made_by_hand(attempt, error)]
                whole = error.completed(hint=joined("\n", ways))
                if isinstance(error, SessionEndedError):
                    raise whole from caught
                pause = tries.pause(error, self._limits(script).lock_timeout, FIRST_PAUSE)
                if self._goes_on(session, step, script, error, exhausted=pause is None):
                    tries = self._tries[step.version] = Tries(self._run.redact)
                    continue
                if pause is None or self._run.stop.is_set():
                    self._record_failure(session, history_writer, attempt, error)
                    raise whole from caught
                if error.contended:
                    turn = self._run.turns[self._target.server_key]
                self._run.sink(StepRetrying(self._id, step.version, self._run.redact(error.what), pause))
                if error.statement is not None and not session.commits(error.statement):
                    raise _LetGoError(pause) from None
                self._run.stop.wait(pause)
        self._tell_messages(session, step.version, step.path)
        self._running = None
        seconds = time.monotonic() - started
        self._run.sink(StepFinished(self._id, step.version, step.name, step.direction, seconds))

    def _made_by_hand(self, attempt: Attempt, error: StatementError) -> str:
        """Return what to do where the file makes what is there already; '' if it is not so."""
        if not error.exists or attempt.direction is Direction.DOWN or attempt.applied or attempt.in_flight:
            return ""
        return Hint(
            "if all of it was made by hand, as in a hotfix: ",
            Command("repair", self._id, "--mark-applied", attempt.version),
        )

    def _tell_messages(self, session: Session, version: int, file: str) -> None:
        """Pass on what the server said while the file ran, but not without bound."""
        for severity, text in session.messages():
            kind = version, severity == "WARNING"
            told = self._told[kind] = self._told.get(kind, 0) + 1
            if told <= MAX_MESSAGES:
                said = hidden(text, MAX_WHAT, self._run.redact)
                self._run.sink(ServerMessage(self._id, version, file, severity, said))
            elif told == MAX_MESSAGES + 1:
                said = f"further messages of this file are not shown (more than {MAX_MESSAGES})"
                self._run.sink(ServerMessage(self._id, version, file, severity, said))

    def _goes_on(
        self, session: Session, step: Step, script: Script | None, error: StatementError, *, exhausted: bool
    ) -> bool:
        """Whether a file that cannot be one transaction is tried again in smaller pieces. Says so."""
        if script is None or self._run.stop.is_set():
            return False
        how = self._pieces.go_on(session, step.version, script, error, exhausted=exhausted)
        if how:
            why = f"{error.where or step.path}: no transaction can hold this ({error.what}): {how}"
            self._run.sink(Notice(self._id, hidden(why, MAX_WHAT, self._run.redact)))
        return bool(how)

    def _run_file(
        self, session: Session, history_writer: HistoryWriter, attempt: Attempt, script: Script | None
    ) -> Attempt:
        """Run what is left of a file and return its finished attempt."""
        after = pointer_after(history_writer.applied, attempt.version, attempt.direction)
        if script is None or not (script.statements or any(script.checks)):
            return self._commit(
                session, history_writer, (), attempt._replace(done=True, in_flight=False), after, Limits()
            )
        limits = self._limits(script)
        statements = script.statements
        fresh = not attempt.applied and not attempt.in_flight
        if fresh and self._pieces.commits_together(session, attempt.version, script):
            done = attempt._replace(applied=len(statements), done=True)
            try:
                return self._commit(session, history_writer, statements, done, after, limits, script.checks)
            except TransactionRefusedError as error:
                if not error.outside or len(statements) > 1:
                    raise
        return self._run_statements(session, history_writer, attempt, script, limits, after)

    def _limits(self, script: Script | None) -> Limits:
        """The file's own header wins over the manifest, and that over the DSN's `x-statement-timeout` (milliseconds)."""
        settings = self._settings
        if script is None:
            return Limits()
        lock = settings.lock_timeout if script.lock_timeout is None else script.lock_timeout
        lock_try = settings.lock_try if script.lock_try is None else script.lock_try
        statement = settings.statement_timeout if script.statement_timeout is None else script.statement_timeout
        if statement is None:
            statement = number(self._target, "x-statement-timeout", 0) / 1000 or None
        return Limits(lock, lock_try, statement)

    def _run_statements(
        self,
        session: Session,
        history_writer: HistoryWriter,
        attempt: Attempt,
        script: Script,
        limits: Limits,
        after: VersionRow,
    ) -> Attempt:
        during = pointer_during(history_writer.applied, attempt.version, attempt.direction)
        total = len(script.statements)
        if not attempt.applied and not attempt.in_flight:
            for check in script.checks.before:
                session.ask(check, limits)
        if attempt.applied < total:
            session.begin(attempt, script.statements[attempt.applied :], limits)
        for index in range(attempt.applied, total):
            if self._run.cancelled.is_set():
                raise InterruptedRunError("cancelled between two statements")
            statement = script.statements[index]
            progress = attempt._replace(
                applied=index + 1,
                in_flight=False,
                prefix=prefix_checksum(script, index + 1),
                done=index + 1 == total and not script.checks.after,
                error="",
            )
            version_row = after if progress.done else during
            committed = not attempt.in_flight and self._pieces.commits(session, attempt.version, statement)
            if committed:
                try:
                    attempt = self._commit(session, history_writer, (statement,), progress, version_row, limits)
                except TransactionRefusedError as error:
                    if not error.outside:
                        raise
                    committed = False
            if not committed:
                attempt = self._run_alone(session, history_writer, attempt, script, index, limits, during)
                attempt = self._commit(session, history_writer, (), progress, version_row, limits)
            self._tell_messages(session, attempt.version, script.file.path)
            self._run.sink(StatementDone(self._id, attempt.version, index + 1, total))
        if not attempt.done:  # every statement was recorded, and only its checks and the last record are missing
            for check in script.checks.after:
                session.ask(check, limits)
            attempt = self._commit(session, history_writer, (), attempt._replace(done=True), after, limits)
        return attempt

    def _run_alone(
        self,
        session: Session,
        history_writer: HistoryWriter,
        attempt: Attempt,
        script: Script,
        index: int,
        limits: Limits,
        during: VersionRow,
    ) -> Attempt:
        """Run a statement that cannot commit with its record: intent first; if one is found, ask what became of it."""
        # One that the server refused inside a transaction comes here too.
        statement = replace(script.statements[index], atomic=False)
        if attempt.in_flight:
            effect, facts = session.probe(statement, limits)
            self._run.sink(Notice(self._id, f"{_place(script, statement)} was cut off: {facts}"))
            if effect is Effect.DONE:
                return attempt
            if effect is Effect.UNKNOWN:
                doubt = f"{IN_DOUBT}: {facts}"
                self._commit(session, history_writer, (), attempt._replace(error=doubt), during, limits)
                raise ConflictError(
                    f"{self._id} is in doubt at statement {index + 1} of version {attempt.version}",
                    where=Mark(script.file.path, statement.line),
                    detail=facts,
                    hint=Hint("look whether it was done, then: ", Command("repair", self._id)),
                )
        elif session.probe(statement, limits)[0] is not Effect.DONE:
            # (What is done before it began is refused by the server, or passed over: a later run must not take it for ours.)
            begun = attempt._replace(in_flight=True, prefix=prefix_in_flight(script, index), error="")
            attempt = self._commit(session, history_writer, (), begun, during, limits)
        try:
            session.execute(statement, limits)
        except StatementError as error:
            # Who cancels is not to wait for debris to be cleared: the next run does that.
            if attempt.in_flight and not error.partly and not self._run.cancelled.is_set():
                with suppress(OrchError):  # debris that cannot be cleared yet: the next try looks again
                    if session.probe(statement, limits)[0] is Effect.DONE:
                        return attempt
                    history_writer.note(attempt._replace(in_flight=False, prefix=prefix_landed(attempt, done=False)))
            raise
        return attempt

    def _commit(
        self,
        session: Session,
        history_writer: HistoryWriter,
        statements: Sequence[Statement],
        attempt: Attempt,
        version_row: VersionRow,
        limits: Limits,
        checks: Checks | None = None,
    ) -> Attempt:
        if checks and any(checks):
            session.commit(statements, [attempt], version_row, limits, checks)
        else:
            session.commit(statements, [attempt], version_row, limits)
        history_writer.note(attempt)
        return attempt

    def _record_failure(
        self, session: Session, history_writer: HistoryWriter, attempt: Attempt, error: OrchError
    ) -> None:
        """Keep the error in the history. A try that had no effect gives the version table back what it said before."""
        what = f"{error.where}: {error.what}" if error.where else error.what
        text = hidden(what, MAX_ERROR_CHARACTERS, self._run.redact)[:MAX_ERROR_CHARACTERS]
        failed = attempt._replace(error=text)
        effect = failed.applied or failed.in_flight
        version_row = (
            None
            if effect or not history_writer.began(failed)
            else VersionRow(max(history_writer.applied, default=None))
        )
        with suppress(OrchError):  # the disk may be full: what went wrong first is what a person must read
            session.commit((), [failed], version_row, Limits())


class _LetGoError(Exception):
    """Whoever waits for our lock may be what a CONCURRENTLY waits for: give it away for a moment, and come back."""

    def __init__(self, pause: float) -> None:
        super().__init__()
        self.pause = pause


def _place(script: Script, statement: Statement) -> str:
    return f"{script.file.path}:{statement.line}"


def _what_next(attempt: Attempt, script: Script | None) -> str:
    """Return what a file that failed has left behind, and so what of it may be corrected."""
    if attempt.in_flight:
        return f"statement {attempt.applied + 1} may be done in part: the next run looks; run again"
    if not attempt.applied or script is None:
        return "nothing of this file is in the database: correct what is wrong, and run again"
    done = f"{attempt.applied} of {attempt.total} statements are done and recorded"
    if attempt.applied >= len(script.statements):
        return f"{done}: run again"
    line = script.statements[attempt.applied].line
    return f"{done}: leave those as they are, correct the file from line {line} on, and run again"


def _located(error: StatementError, script: Script | None, redact: Redact) -> StatementError:
    """Return what the server said with file, line, column and the line itself with a caret."""
    statement = error.statement
    if script is None or error.where is not None:
        return error
    if statement is None:  # at its end: a deferred constraint, or our own records
        detail = "\n".join(filter(None, (error.code, error.detail)))
        return error.completed(where=Mark(script.file.path), detail=detail)
    offset = statement.offset + (error.offset or 0)
    offsets = [one.offset for one in script.statements]
    place = (
        f"statement {offsets.index(statement.offset) + 1} of {len(offsets)}" if statement.offset in offsets else "check"
    )
    number = place + (f", {error.code}" if error.code else "")
    facts = [excerpt(script.text, offset, redact.spans), number]
    detail = "\n".join([*facts, error.detail] if error.detail else facts)
    return error.completed(where=Mark.at(script.file.path, script.text, offset), detail=detail)
