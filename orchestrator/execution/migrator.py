"""Migrate one database: the algorithm, written once for all engines.

First, create the database if it is missing, connect and take the lock. Then read the history again: what it says, not what
the plan remembers, decides what is still to do. Write down what golang-migrate did meanwhile. Then run the files one by
one. A file that can be one transaction commits together with its record and the version table. Of any other, each statement
that can commits with its progress; for one that cannot, the intent is recorded before and the end after it, and a later
run asks the database what became of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from functools import partial

from orchestrator.engines import dialect
from orchestrator.engines.base import KnowsPlace, Limits, ReleasesLock, Session
from orchestrator.errors import (
    ConnectError,
    ConnectionLostError,
    InterruptedRunError,
    LockError,
    NotPermittedError,
    OrchError,
    SessionEndedError,
    StalePlanError,
    StatementError,
)
from orchestrator.events import (
    MAX_WHAT,
    Adopted,
    LockWaiting,
    Notice,
    StepFinished,
    StepRetrying,
    StepStarted,
)
from orchestrator.execution.activity import StepActivity, watched_lock
from orchestrator.execution.creation import create
from orchestrator.execution.drift_watch import DriftWatch
from orchestrator.execution.file_errors import located, made_by_hand, what_next
from orchestrator.execution.file_runner import FileRunner, limits_of
from orchestrator.execution.history_writer import HistoryWriter
from orchestrator.execution.run import Run, lock_wait
from orchestrator.execution.server_messages import ServerMessages
from orchestrator.execution.smaller_pieces import SmallerPieces
from orchestrator.execution.survey import one_database
from orchestrator.execution.tries import Tries
from orchestrator.hints import Command, Hint, joined
from orchestrator.model import Direction, Mark, Script
from orchestrator.planning.attempts import resumable
from orchestrator.planning.history import State, reconcile
from orchestrator.planning.plan import DatabasePlan, Step
from orchestrator.planning.planner import refuse_changed_files, remaining
from orchestrator.secret import hidden

_RECONNECTS = 5
_RUNS_OF_A_FILE = 3  # in which the connection broke
FIRST_PAUSE = 0.5  # seconds; doubled at every retry


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
        self._activity: dict[int, StepActivity] = {}
        self._messages = ServerMessages(run, self._id)
        self._pieces = SmallerPieces()
        self._drift = DriftWatch(run, planned.id)
        self.version: int | None = planned.version
        self.applied = 0

    def migrate(self) -> None:
        """Do what the plan says for this database. Raises whatever stopped it."""
        refuse_changed_files(self._planned, self._files)
        missing = self._planned.create
        lost = 0
        while True:
            try:
                if missing:
                    if create(self._run, self._id):
                        self._tell_copied()
                        return
                    missing = False
                self._connected()
            except _LetGoError as again:
                self._run.stop.wait(again.pause)
            except SessionEndedError as error:
                self._record_ended(error)
                raise
            except ConnectionLostError as error:
                if lost == _RECONNECTS or self._run.stop.is_set():
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
        if self._broken[step.version] < _RUNS_OF_A_FILE:
            return
        error = ConnectionLostError(
            f"the connection broke each of {_RUNS_OF_A_FILE} times that {step.path or f'version {step.version}'} ran",
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
            history_writer = HistoryWriter(self._run, self._id, history, state)
            if (step.version in history_writer.applied) is (step.direction is Direction.UP):
                return
            migration = self._files[step.version]
            file = migration.file(step.direction)
            script = self._run.read_script(self._database, file) if file else None
            history_writer.record_failure(session, history_writer.begin(migration, step.direction, script), error)

    def _tell_copied(self) -> None:
        """Tell of the steps that came with the copy, and do not connect to it: the first connection is what costs most."""
        for step in self._planned.steps:
            self._run.sink(StepStarted(self._id, step.version, step.name, step.direction, step.first, step.statements))
            self._run.sink(StepFinished(self._id, step.version, step.name, step.direction, 0.0))
        self.applied = len(self._planned.steps)
        self.version = max(step.version for step in self._planned.steps)

    def _connected(self) -> None:
        try:
            started = time.monotonic()
            with self._engine.connect(self._target) as session, self._registered(session):
                self._run.timings.add("  connect, to migrate", started)
                started = time.monotonic()
                taken = False
                try:
                    with ExitStack() as held:
                        with watched_lock(self._run, self._id, session):
                            wait = lock_wait(self._target, self._run.lock_timeout)
                            held.enter_context(session.lock(wait, self._on_wait))
                        taken = True
                        self._run.timings.add("  lock", started)
                        self._locked(session)
                except LockError:
                    if taken or not self._is_done(session):
                        raise
                    self._run.sink(Notice(self._id, "the holder of the lock has meanwhile done what was planned"))
        except ConnectError as error:
            if error.transient:  # the survey reached it a moment ago: it went away, and may come back
                raise ConnectionLostError(error.what, detail=error.detail, hint=error.hint) from None
            changed = (
                ""
                if self._planned.create or dialect(self._target.engine).embedded.files  # a file has no login
                else "a moment ago this login was accepted: has a migration changed this login?"
            )
            raise error.completed(hint=joined("\n", [error.hint, changed])) from None

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

    def _on_wait(self, holder: object) -> None:
        if self._run.stop.is_set():
            raise InterruptedRunError("stopped while waiting for the lock")
        self._run.sink(LockWaiting(self._id, getattr(holder, "description", "")))

    def _refuse_twin(self, place: str) -> None:
        """Raise if another entry of the manifest has this version table. Where there was none yet, no survey could tell."""
        owner = self._run.places.setdefault(place, self._id) if place else self._id
        if owner != self._id:
            raise one_database({id: self._run.targets[id].endpoint for id in (owner, self._id)})

    def _locked(self, session: Session) -> None:
        history = session.read_history(self._planned.extensions)
        self._refuse_twin(history.place)
        steps = remaining(self._planned, tuple(self._files.values()), history, self._settings.out_of_order)
        state = reconcile(tuple(self._files.values()), history, out_of_order=self._settings.out_of_order)
        # A run that only restores a lost version table changes nothing that a schema snapshot could be taken of.
        changes = bool(steps or state.adopt or state.forget)
        if changes:
            self._drift.before(session, steps)
        session.prepare([name for name in self._planned.extensions if name not in history.extensions])
        history_writer = HistoryWriter(self._run, self._id, history, state)
        self._follow_golang_migrate(session, history_writer, state)
        self.version = history_writer.version
        try:
            for step in steps:
                if self._run.stop.is_set():
                    raise InterruptedRunError("stopped between two migrations")
                ends = step is steps[-1] and not self._drift.keeps and (history.place or self.applied)
                if ends and isinstance(session, ReleasesLock):
                    session.release_with_commit()
                self._step(session, history_writer, step)
                self.applied += 1
                self.version = history_writer.version
                if not history.place and self.applied == 1:  # only now there is a version table
                    self._refuse_twin(
                        session.place() if isinstance(session, KnowsPlace) else session.read_history().place
                    )
        except StatementError:
            if self.applied:
                self._drift.after(session, self.version)
            raise
        if changes:
            self._drift.after(session, self.version)

    def _follow_golang_migrate(self, session: Session, history_writer: HistoryWriter, state: State) -> None:
        """Write down what golang-migrate did since we last looked, and give the version table back if somebody dropped it."""
        attempts = [history_writer.adopted(self._files[version], Direction.UP) for version in state.adopt]
        attempts += [history_writer.forgotten(version) for version in state.forget]
        for attempt in attempts:
            history_writer.note(attempt)
        if attempts or state.version_row_stale:
            session.commit(
                (), attempts, history_writer.version_row(state) if state.version_row_stale else None, Limits()
            )
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
        tell = partial(self._messages.pass_on, session)
        runner = FileRunner(self._run, self._id, session, history_writer, self._pieces, tell)
        tries = self._tries.setdefault(step.version, Tries(self._run.redact))
        activity = self._activity.setdefault(step.version, StepActivity(self._run, self._id, step))
        self._running = step
        turn: AbstractContextManager[object] = nullcontext()
        while True:
            try:
                with turn, tries.watched(self._run.watching, session, activity.tell):
                    attempt = runner.run_file(attempt, script)
                break
            except StatementError as caught:
                attempt = history_writer.latest(attempt)
                self._messages.pass_on(session, step.version, step.path)
                if self._run.cancelled.is_set():  # then the server's words tell of that alone
                    history_writer.record_failure(session, attempt, InterruptedRunError("cancelled by a signal"))
                    raise InterruptedRunError("cancelled") from None
                error = tries.explained(located(caught, script, self._target.engine, self._run.redact))
                ways = [error.hint, what_next(attempt, script), made_by_hand(self._id, attempt, error)]
                whole = error.completed(hint=joined("\n", ways))
                if isinstance(error, SessionEndedError):
                    raise whole from caught
                pause = tries.pause(error, limits_of(self._run, self._id, script).lock_timeout, FIRST_PAUSE)
                if self._goes_on(session, step, script, error, exhausted=pause is None):
                    tries = self._tries[step.version] = Tries(self._run.redact)
                    continue
                if pause is None or self._run.stop.is_set():
                    history_writer.record_failure(session, attempt, error)
                    raise whole from caught
                if error.contended:
                    turn = self._run.turns[self._target.server_key]
                self._run.sink(StepRetrying(self._id, step.version, self._run.redact(error.what), pause))
                if error.statement is not None and not session.commits(error.statement):
                    raise _LetGoError(pause) from None
                self._run.stop.wait(pause)
            except NotPermittedError as error:  # of our own records: what this login could do before the file
                lost = f"has this file, or another session, changed the rights of this login? The history: {step.path} was begun"
                where = error.where or (Mark(step.path) if step.path else None)
                raise error.completed(where=where, hint=joined("\n", [error.hint, lost])) from None
        self._messages.pass_on(session, step.version, step.path)
        self._running = None
        seconds = time.monotonic() - started
        self._run.sink(StepFinished(self._id, step.version, step.name, step.direction, seconds))

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


class _LetGoError(Exception):
    """Release the migration lock for `pause` seconds: a session that waits for it may itself block CREATE INDEX CONCURRENTLY."""

    def __init__(self, pause: float) -> None:
        super().__init__()
        self.pause = pause
