"""One scratch database: made, moved along its migrations, and looked at. The road is that of `orch apply`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from orchestrator.errors import InterruptedRunError
from orchestrator.events import (
    DatabaseFailed,
    Event,
    Failure,
    LockWaiting,
    Notice,
    ServerMessage,
    ServerWaiting,
    StepProgress,
    StepRetrying,
    StepWaiting,
)
from orchestrator.execution.executor import Executor
from orchestrator.execution.reading import plan_of
from orchestrator.execution.run import Run
from orchestrator.execution.survey import survey
from orchestrator.model import Direction, SchemaSnapshot
from orchestrator.planning.plan import Request

_TOLD = (LockWaiting, Notice, ServerMessage, ServerWaiting, StepProgress, StepRetrying, StepWaiting)


class StepError(Exception):
    """A file failed in a scratch database; why, as data."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.what)
        self.failure = failure


class ScratchDatabase:
    """One scratch database. `run` is confined to it: its targets and files are those of the scratch database.

    `working` registers the executor of each move while it runs, so that a signal can stop it.
    """

    def __init__(self, run: Run, id: str, working: Callable[[Executor], AbstractContextManager[None]]) -> None:
        self.run = run
        self.id = id
        self._working = working

    def create(self) -> None:
        """Make the database, with what it has before its first migration."""
        self._execute(replace(self.run, catalogs={self.id: ()}), Request(Direction.UP))

    def go(self, direction: Direction, version: int) -> None:
        """Go up to this version, or down from it; StepError if that fails."""
        up = direction is Direction.UP
        self._execute(self.run, Request(direction, to=version) if up else Request(direction, steps=1))

    def schema_snapshot(self) -> SchemaSnapshot:
        """Return the schema as it is now."""
        target = self.run.targets[self.id]
        with self.run.engines[target.engine].connect(target) as session:
            schema_snapshot = session.schema_snapshot()
            session.keep()
        return schema_snapshot

    def _execute(self, run: Run, request: Request) -> None:
        failures: list[Failure] = []

        def sink(event: Event) -> None:
            if isinstance(event, _TOLD):
                self.run.sink(event)
            elif isinstance(event, DatabaseFailed):
                failures.append(event.failure)

        run = replace(run, sink=sink)
        databases = tuple(run.databases.values())
        plan = plan_of(run, databases, survey(run, keep=True), request)
        executor = Executor(run, plan)
        with self._working(executor):
            executor.execute()
        if run.stop.is_set():
            raise InterruptedRunError("stopped")
        if failures:
            raise StepError(failures[0])
