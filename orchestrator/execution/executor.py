"""Execute a plan over all databases: order, failures, interruption and exit code."""

from __future__ import annotations

import time
from collections.abc import Sequence

from orchestrator.errors import ExitCode, exit_code_of
from orchestrator.events import (
    DatabaseBlocked,
    DatabaseFailed,
    DatabaseFinished,
    DatabaseSkipped,
    DatabaseStarted,
    Failure,
    RunFinished,
    RunStarted,
)
from orchestrator.execution.elsewhere import NOTHING, Elsewhere
from orchestrator.execution.one_database import Migrate, failure_of, migrate_here, was_interrupted
from orchestrator.execution.rollout import Rollouts
from orchestrator.execution.run import Run
from orchestrator.execution.scheduler import walk
from orchestrator.execution.sessions import Sessions
from orchestrator.model import Direction
from orchestrator.planning.plan import Plan
from orchestrator.planning.rollout import FleetRollout


class Executor:
    """Execute one plan exactly. Run nothing on a database whose history has changed since the plan was made.

    `migrate` has the work on a database done elsewhere; without it, all is done here. `incomplete`: there are databases
    that could not be planned yet, so that a run without failures ends with exit code 8.
    """

    def __init__(
        self,
        run: Run,
        plan: Plan,
        rollouts: Sequence[FleetRollout] = (),
        elsewhere: Elsewhere = NOTHING,
        migrate: Migrate | None = None,
        *,
        incomplete: bool = False,
    ) -> None:
        self._incomplete = incomplete
        self._elsewhere = elsewhere
        self._rollouts = Rollouts(run, rollouts, self._has_ended)
        self._run = run
        self._plan = plan
        self._plans = {planned.id: planned for planned in plan.databases}
        self._idle = {planned.id for planned in plan.databases if not planned.has_changes and not planned.failure}
        self._failures: list[Failure] = []
        self._stopped: list[str] = []
        self._unreached: list[str] = []  # databases with nothing to do, whose turn did not come
        self._sessions = Sessions(run)
        self._migrate = migrate

    def execute(self) -> RunFinished:
        """Execute the plan and return the last event, which has the exit code."""
        run = self._run
        changing = [p for p in self._plan.databases if p.has_changes or p.failure]
        run.sink(RunStarted(run.run_id, tuple(p.id for p in changing), sum(len(p.steps) for p in changing)))
        gates = {**self._rollouts.gates, **self._elsewhere.gates}
        with run.timings.stage("execution"):
            walked = walk(
                self._rollouts.with_gates({**self._elsewhere.needs, **self._dependencies()}),
                self._database,
                server_of=run.server_of,
                jobs=run.jobs,
                jobs_per_server=run.jobs_per_server,
                stop=run.stop,
                fail_fast=run.fail_fast,
                on_blocked=self._blocked,
                after=self._rollouts.after,
                gates=gates,
            )
        for id in walked.skipped:
            if id not in gates:
                self._not_reached(id)
        beside = {*self._stopped, *self._unreached, *gates}
        finished = RunFinished(
            run.run_id,
            time.monotonic() - run.started,
            self._exit_code(),
            (*(id for id in walked.done if id not in gates), *self._unreached),
            tuple(id for id in walked.failed if id not in beside),
            tuple(id for id in walked.blocked if id not in beside),
            tuple(self._stopped),
        )
        run.sink(finished)
        return finished

    def stop(self) -> None:
        """Stop after the running migrations. A second call cancels them on the servers."""
        self._sessions.stop()

    def _dependencies(self) -> dict[str, tuple[str, ...]]:
        """Return the order of databases: up after their dependencies, down before them."""
        before = self._elsewhere.before
        up = {one.id: tuple(dict.fromkeys((*one.depends_on, *before.get(one.id, ())))) for one in self._plan.databases}
        if self._plan.direction is Direction.UP:
            return up
        down: dict[str, list[str]] = {id: [] for id in up}
        for id, needs in up.items():
            for need in needs:
                if need in down:  # a plan that is refused holds only what stands in the way
                    down[need].append(id)
        return {id: tuple(dependants) for id, dependants in down.items()}

    def _exit_code(self) -> int:
        if self._run.stop.is_set() and self._stopped:
            return int(ExitCode.INTERRUPTED)
        code = exit_code_of(failure.exit_code for failure in self._failures)
        more = self._incomplete or self._rollouts.paused or self._elsewhere.unmet
        return code or int(ExitCode.NOT_YET if more else ExitCode.DONE)

    def _has_ended(self) -> bool:
        """Whether nothing new starts any more."""
        return self._run.stop.is_set() or (self._run.fail_fast and bool(self._failures))

    def _database(self, id: str) -> bool:
        """Migrate one database as planned. Return whether it succeeded; never raise."""
        run, planned = self._run, self._plans[id]
        started = time.monotonic()
        try:
            if planned.failure:
                self._fail(id, planned.failure, begun=False)
                return False
            if not planned.has_changes:
                return True
            if self._rollouts.halted(id):
                self._skip(id)
                return False
            if self._plan.direction is Direction.UP:
                run.ready(id)
            run.sink(DatabaseStarted(id, len(planned.steps)))
            migrated = self._migrate(planned) if self._migrate else None
            migrated = migrated or migrate_here(run, self._sessions, planned)
            self._rollouts.worked(id)
            run.sink(DatabaseFinished(id, migrated.version, migrated.applied, time.monotonic() - started))
        except Exception as error:  # noqa: BLE001 - one database's trouble is data, whatever it is
            if was_interrupted(run, error):
                self._skip(id)
                return False
            self._fail(id, failure_of(run, error))
            return False
        return True

    def _blocked(self, id: str, by: tuple[str, ...]) -> None:
        """Report a database that cannot be reached any more: blocked, or unchanged if it has no work."""
        causes = tuple(cause for cause in by if cause not in self._stopped and cause not in self._rollouts.gates)
        if id not in self._idle:
            self._rollouts.not_reached(id)
        if causes and id not in self._idle:
            self._run.sink(DatabaseBlocked(id, causes))
        else:
            self._not_reached(id)

    def _not_reached(self, id: str) -> None:
        if id in self._idle:
            self._unreached.append(id)
        else:
            self._skip(id)

    def _skip(self, id: str) -> None:
        self._stopped.append(id)
        self._run.sink(DatabaseSkipped(id, self._rollouts.why(id)))

    def _fail(self, id: str, failure: Failure, *, begun: bool = True) -> None:
        self._failures.append(failure)
        self._rollouts.failed(id, begun=begun)
        self._run.sink(DatabaseFailed(id, failure))
