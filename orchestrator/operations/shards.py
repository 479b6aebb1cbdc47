"""What one of several runs at the same time waits for: databases that another one of them migrates. Only reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from orchestrator.engines import load_engine
from orchestrator.errors import OrchError, UsageError
from orchestrator.events import Notice
from orchestrator.execution.elsewhere import Elsewhere
from orchestrator.execution.run import Run
from orchestrator.execution.scheduler import Settle
from orchestrator.execution.survey import survey
from orchestrator.operations.waiting import missing_in
from orchestrator.planning.plan import Plan
from orchestrator.planning.shards import Shard, split
from orchestrator.planning.surveys import Survey

LOOK_EVERY = 1.0  # seconds
PATIENCE = 600.0
"""So many seconds a shard waits at least for a database of another one."""


def narrowed(plan: Plan, shard: Shard) -> tuple[Plan, dict[str, tuple[str, ...]]]:
    """Return the part of a plan that a shard executes, and what it waits for, with the dependencies of each."""
    needs = {one.id: one.depends_on for one in plan.databases}
    mine, awaited = split(needs, shard)
    own = set(mine)
    part = replace(plan, databases=tuple(one for one in plan.databases if one.id in own))
    return part, {id: needs[id] for id in awaited}


def elsewhere(run: Run, awaited: Mapping[str, tuple[str, ...]]) -> Elsewhere:
    """Return the databases of other shards as gates, which open when their histories say that they are migrated."""
    watcher = _Watcher(run, list(awaited))
    before = {
        id: found
        for id, one in run.databases.items()
        if id not in awaited and (found := tuple(need for need in one.depends_on if need in awaited))
    }
    return Elsewhere(dict(awaited), {id: partial(watcher.begin, id) for id in awaited}, before, watcher.unmet)


def refuse_rollouts(run: Run) -> None:
    """Raise UsageError if a fleet has a rollout: its waves are those of one run."""
    for database in run.databases.values():
        if database.fleet and database.fleet.rollout:
            raise UsageError(
                f"the fleet {database.fleet.template} has a rollout, and --shard would run its waves beside each other",
                hint="leave out --shard: one run is fast enough for its waves",
            )


class _Watcher:
    """Reads the histories of awaited databases in one thread, which ends when none is waited for."""

    def __init__(self, run: Run, ids: list[str]) -> None:
        self._run = run
        self._until = run.started + max(run.wait, PATIENCE)
        self._waiting: dict[str, Settle] = {}
        self._mutex = threading.Lock()
        self._working = False
        self._known: dict[str, set[tuple[int, int]]] = {}
        self.unmet: dict[str, str] = {}
        if ids:
            self._known = {id: _failures(found) for id, found in self._look(ids).items()}

    def begin(self, id: str, settle: Settle) -> None:
        """Wait for a database from now on."""
        with self._mutex:
            self._waiting[id] = settle
            start, self._working = not self._working, True
        if start:
            threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        told: dict[str, str] = {}
        while True:
            with self._mutex:
                ids = list(self._waiting)
                if not ids:
                    self._working = False
                    return
            try:
                found = self._look(ids)
            except Exception as error:  # noqa: BLE001 - nobody waits for this thread: a gate must settle
                self._give_up(ids, self._run.redact(str(error)))
                continue
            for id in ids:
                lacks, over = self._judge(id, found[id])
                if over:
                    self._settle(id, lacks)
                elif told.setdefault(id, "") != lacks:
                    told[id] = lacks
                    self._run.sink(Notice(id, f"waiting for another shard: {lacks}"))
            self._run.stop.wait(LOOK_EVERY)

    def _judge(self, id: str, found: Survey) -> tuple[str, bool]:
        """Return what a database lacks, and whether it is not waited for any longer."""
        run = self._run
        if run.stop.is_set():
            return "the run was stopped", True
        over = time.monotonic() >= self._until
        if new := _failures(found) - self._known.get(id, set()):
            return f"version {min(new)[0]} failed in another shard", True
        try:
            lacks = missing_in(run.databases[id], run.catalogs[id], found, None, over or bool(found.failure))
        except OrchError as error:
            return run.redact(error.what), True
        return lacks, over or not lacks

    def _settle(self, id: str, lacks: str) -> None:
        with self._mutex:
            settle = self._waiting.pop(id)
        if lacks:
            self.unmet[id] = lacks
            if not self._run.stop.is_set():
                self._run.sink(Notice(id, f"is not migrated by its shard: {lacks}"))
        settle(not lacks)

    def _give_up(self, ids: list[str], why: str) -> None:
        for id in ids:
            self._settle(id, why)

    def _look(self, ids: list[str]) -> dict[str, Survey]:
        run = self._run
        engines = {name: load_engine(name, run.actor, run.run_id) for name in {run.targets[id].engine for id in ids}}
        part = replace(
            run,
            databases={id: run.databases[id] for id in ids},
            targets={id: run.targets[id] for id in ids},
            engines=engines,
            jobs_per_server=1,
        )
        try:
            return survey(part, reads=True, whole=True)
        finally:
            for engine in engines.values():
                engine.close()


def _failures(found: Survey) -> set[tuple[int, int]]:
    """Return the attempts that failed, by version and number."""
    return {(one.version, one.number) for one in found.history.attempts if one.error and not one.done}
