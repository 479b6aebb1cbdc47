"""Execute a plan from first to last and return what became of every database."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.engines import load_engine
from orchestrator.events import DatabaseFailed, DatabaseFinished, Event, Failure, RunFinished
from orchestrator.operations.plan import Planned
from orchestrator.operations.risk_policy import refuse
from orchestrator.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Executed:
    """What became of a plan. `finished` names the databases that succeeded, failed, were blocked or skipped.

    `versions` has where each database stands that the run brought to its end, `applied` how many migrations it ran there.
    """

    plan: Plan
    finished: RunFinished
    failures: Mapping[str, Failure]
    versions: Mapping[str, int | None]
    applied: Mapping[str, int]

    @property
    def exit_code(self) -> int:
        """What `orch apply` would exit with."""
        return self.finished.exit_code

    @property
    def ok(self) -> bool:
        """Whether every database is where the plan wants it."""
        return self.exit_code == 0


def execute(planned: Planned) -> Executed:
    """Execute a plan and return what became of it. What fails on one database is its failure, and blocks its dependents.

    ConflictError if the manifest refuses a risk of the plan: then nothing has run. A KeyboardInterrupt waits for the
    running migrations and starts no other; running again continues.
    """
    refuse(planned)
    failures: dict[str, Failure] = {}
    ends: dict[str, DatabaseFinished] = {}
    sink = planned.run.sink

    def take(event: Event) -> None:
        if isinstance(event, DatabaseFailed):
            failures[event.database] = event.failure
        elif isinstance(event, DatabaseFinished):
            ends[event.database] = event
        sink(event)

    try:
        finished = replace(planned, run=replace(planned.run, sink=take)).executor().execute()
    finally:
        planned.run.close()
    versions = {id: end.version for id, end in ends.items()}
    return Executed(planned.plan, finished, failures, versions, {id: end.applied for id, end in ends.items()})


def let_go(planned: Planned) -> Planned:
    """Return a plan that keeps no connection open until it is executed, however often that was done before."""
    run = planned.run
    run.close()
    engines = {name: load_engine(name, run.actor, run.run_id) for name in run.engines}
    stop, cancelled = threading.Event(), threading.Event()
    return replace(planned, run=replace(run, engines=engines, stop=stop, cancelled=cancelled, started=time.monotonic()))
