"""Write records of databases and run none of their files: what repair and baseline decide.

For each database: take the migration lock, read the history, refuse if it is not what the decision was made on, decide
again on what was read, and write all records in one commit. Several databases at the same time, each for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from orchestrator.engines.base import Limits
from orchestrator.errors import (
    ConnectionLostError,
    ExitCode,
    InterruptedRunError,
    StalePlanError,
    StatementError,
    exit_code_of,
)
from orchestrator.events import (
    DatabaseFailed,
    DatabaseFinished,
    DatabaseSkipped,
    DatabaseStarted,
    Failure,
    LockWaiting,
    RunFinished,
    RunStarted,
)
from orchestrator.execution.run import Run, lock_wait
from orchestrator.execution.scheduler import walk
from orchestrator.execution.sessions import Sessions
from orchestrator.model import History, LockHolder
from orchestrator.planning.attempts import digest
from orchestrator.planning.resolution import Resolution

Decide = Callable[[str, History], Resolution]
"""Returns what to record for a database by its history; raises if there is nothing to record."""


class Recorder:
    """Records one resolution for each of these databases. `seen` are the histories that they were chosen by."""

    def __init__(self, run: Run, seen: Mapping[str, History], decide: Decide) -> None:
        self._run = run
        self._seen = seen
        self._decide = decide
        self._sessions = Sessions(run)
        self._stopped: list[str] = []
        self.recorded: dict[str, Resolution] = {}
        self.failures: dict[str, Failure] = {}

    def execute(self) -> RunFinished:
        """Record everything and return the last event, which holds the exit code. One that fails does not stop the others."""
        run = self._run
        run.sink(RunStarted(run.run_id, tuple(self._seen), 0))
        walked = walk(
            dict.fromkeys(self._seen, ()),
            self._database,
            server_of=run.server_of,
            jobs=run.jobs,
            jobs_per_server=run.jobs_per_server,
            stop=run.stop,
        )
        for id in walked.skipped:
            self._skip(id)
        codes = (failure.exit_code for failure in self.failures.values())
        finished = RunFinished(
            run.run_id,
            time.monotonic() - run.started,
            int(ExitCode.INTERRUPTED) if self._stopped else exit_code_of(codes),
            tuple(walked.done),
            tuple(id for id in walked.failed if id not in self._stopped),
            skipped=tuple(self._stopped),
        )
        run.sink(finished)
        return finished

    def stop(self) -> None:
        """Begin nothing new; what is being written may finish. Called again: cancel on the servers."""
        self._sessions.stop()

    def _database(self, id: str) -> bool:
        """Record for one database. Returns whether that is done; never raises."""
        run, started = self._run, time.monotonic()
        run.sink(DatabaseStarted(id, 0))
        try:
            history, resolution = self._written(id)
        except Exception as error:  # noqa: BLE001 - one database's trouble is data, whatever it is
            if isinstance(error, InterruptedRunError) or (
                run.cancelled.is_set() and isinstance(error, (StatementError, ConnectionLostError))
            ):
                self._skip(id)
                return False
            self.failures[id] = Failure.of(error, run.redact)
            run.sink(DatabaseFailed(id, self.failures[id]))
            return False
        self.recorded[id] = resolution
        row = resolution.version_row or history.version_row
        run.sink(DatabaseFinished(id, row.version if row else None, 0, time.monotonic() - started))
        return True

    def _written(self, id: str) -> tuple[History, Resolution]:
        run, target = self._run, self._run.targets[id]

        def waiting(holder: LockHolder) -> None:
            if run.stop.is_set():
                raise InterruptedRunError("stopped while waiting for the lock")
            run.sink(LockWaiting(id, holder.description))

        with (
            run.engines[target.engine].connect(target) as session,
            self._sessions.registered(session),
            session.lock(lock_wait(target, run.lock_timeout), waiting),
        ):
            history = session.read_history()
            if digest(history) != digest(self._seen[id]):
                raise StalePlanError(f"{id} changed while you were looking", hint="run the command again")
            resolution = self._decide(id, history)
            if run.stop.is_set():
                raise InterruptedRunError("stopped before anything was recorded")
            session.commit((), resolution.attempts, resolution.version_row, Limits())
        return history, resolution

    def _skip(self, id: str) -> None:
        self._stopped.append(id)
        self._run.sink(DatabaseSkipped(id))
