"""`orch apply --engine dask`: the workers of a Dask cluster migrate the databases of a plan that is made here.

The walk over the graph stays here: it submits a database when its turn comes, and waits for the answer. So dependencies,
waves and the limit for each server hold across all workers. A worker that dies loses what it had in hand: the scheduler
starts those databases on another one, where lock and history decide what is left to do, as after any kill.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.engines import dialect
from orchestrator.errors import ConnectError, ConnectionLostError, InterruptedRunError, UsageError, WorkerError
from orchestrator.events import Notice, StepFinished
from orchestrator.execution.one_database import FailedElsewhereError, Migrated
from orchestrator.execution.run import Run
from orchestrator.operations.assembly import Assembly
from orchestrator.operations.dask_client import SAME_RELEASE, ask_all, call, connected, unable
from orchestrator.operations.dask_worker import TOPIC, Answer, Order, Told
from orchestrator.operations.fingerprint import files_of, of_migrations
from orchestrator.operations.fleets import handed_over
from orchestrator.operations.plan import Planned
from orchestrator.operations.scope import Scope
from orchestrator.planning.plan import DatabasePlan, Plan
from orchestrator.secret import hidden

LOOK_EVERY = 1.0  # seconds
PATIENCE = 60.0
"""Seconds without any worker after which nothing is waited for."""
_GOES_ON = "workers that still run finish their current migration; run the same command again: it continues from there"


def needs_workers(plan: Plan) -> bool:
    """Whether a plan changes anything that a worker can do: databases that are files are migrated here."""
    return any(one.has_changes and not _is_file(one) for one in plan.databases)


@contextmanager
def on_cluster(planned: Planned, scope: Scope, scheduler: str, *, create: bool, late: bool) -> Iterator[Planned]:
    """Give the plan that the workers of a cluster execute; whoever executes it must do so inside of this context.

    `create` and `late` are those of `prepare`. Databases that are files are migrated here: a worker may be on another
    machine. ConnectError if there is no scheduler or no worker, WorkerError if a worker cannot execute this plan.
    """
    run, assembly = planned.run, planned.assembly
    if assembly is None:  # a rollback; the command line has no way to get here
        raise UsageError("the workers of a Dask cluster execute plans of apply alone")
    run.close()  # the connections that the survey keeps for a local run
    order = _order(run, assembly, scope, create=create, late=late)
    with connected(scheduler, run.wait) as client:
        cluster = _Cluster(client, run, order)
        cluster.examine(planned.plan)
        with cluster.watched():
            yield replace(planned, migrate=cluster.migrate)


def _order(run: Run, assembly: Assembly, scope: Scope, *, create: bool, late: bool) -> Order:
    manifest = assembly.manifest
    return Order(
        run.run_id,
        run.actor,
        files_of(manifest),
        handed_over(manifest, assembly.answers),
        str(manifest.path.absolute()),
        str(Path(scope.env_file).absolute()) if scope.env_file else scope.env_file,
        tuple(scope.only) if scope.only else None,
        tuple(scope.exclude or ()),
        scope.no_deps,
        create,
        late,
        run.wait,
        run.lock_timeout,
    )


@dataclass
class _InHand:
    """A database that a worker has: which one it is, and the versions of the steps that it told of."""

    worker: str = ""
    finished: set[int] = field(default_factory=set)


class _Cluster:
    """Has databases migrated by workers. Passes their events on, and the signals that stop the run to them."""

    def __init__(self, client: Any, run: Run, order: Order) -> None:
        self._client = client
        self._run = run
        self._order = order
        self._brief = order._replace(members=None) if order.members else order
        self._digests: dict[tuple[str, Path], str] = {}
        self._in_hand: dict[str, _InHand] = {}
        self._futures: dict[str, Any] = {}
        self._said: set[str] = set()
        self._over = threading.Event()
        self._lost = False  # the scheduler
        self._alone = 0.0  # the monotonic time since which there is no worker
        self._mutex = threading.Lock()

    def examine(self, plan: Plan) -> None:
        """Ask every worker whether it can execute a plan. Raises ConnectError, or WorkerError for the first that cannot."""
        if not self._workers() and not self._comes_a_worker():
            raise ConnectError(
                "the Dask cluster has no worker",
                hint="start one where dborch is installed: dask worker ADDRESS; --wait SECONDS waits for the first",
            )
        changing = [one for one in plan.databases if one.has_changes and not _is_file(one)]
        kinds = {(one.engine, self._run.databases[one.id].directory, one.steps): one for one in changing}
        servers = {one.id: (one.engine, one.name, one.endpoint) for one in changing}
        payload = pickle.dumps(((self._order, [(one, self._digest(one)) for one in kinds.values()], servers), {}))
        answers = ask_all(self._client, "examine", payload, max(PATIENCE, self._run.wait))
        wrong = {worker: found for worker, answer in sorted(answers.items()) if (found := unable(worker, answer))}
        if wrong:
            first = next(iter(wrong.values()))
            if len(wrong) > 1:
                first = first.completed(what=f"{first.what} (and {len(wrong) - 1:,} more of {len(answers):,} workers)")
            raise first

    def migrate(self, planned: DatabasePlan) -> Migrated | None:
        """Have a database migrated by a worker. None for one that is a file. Raises whatever stopped it."""
        if _is_file(planned):
            return None
        id, mine = planned.id, _InHand()
        if self._run.stop.is_set():
            raise InterruptedRunError("stopped before a worker had it")
        if self._lost:
            raise ConnectionLostError(f"the Dask scheduler was lost before {id} began", hint=_GOES_ON)
        with self._mutex:
            self._in_hand[id] = mine
        try:
            answer = self._by_a_worker(self._brief, planned)
            if answer.lacks_members:  # a worker that joined later
                answer = self._by_a_worker(self._order, planned)
        finally:
            with self._mutex:
                del self._in_hand[id]
        self._run.timings.merge(answer.stages, "workers")
        for step in answer.finished:
            if step.version not in mine.finished:  # the answer has what an event lost
                mine.finished.add(step.version)
                self._run.sink(step)
        if answer.interrupted:
            raise InterruptedRunError("stopped on its worker")
        if answer.failure:
            raise FailedElsewhereError(answer.failure)
        return Migrated(answer.version, len(mine.finished))

    def _by_a_worker(self, order: Order, planned: DatabasePlan) -> Answer:
        """Submit a database, and return what became of it. Raises whatever stopped it."""
        id = planned.id
        payload = pickle.dumps(((order, planned, self._digest(planned)), {}))
        key = f"orch-{self._run.run_id}-{id}" + "-with-members" * (order is not self._brief)
        with self._mutex:
            future = self._client.submit(call("migrate"), payload, key=key, pure=False)
            self._futures[id] = future
        try:
            return pickle.loads(self._result(id, future))  # type: ignore[no-any-return]  # noqa: S301 - of our own worker
        finally:
            with self._mutex:
                del self._futures[id]
            future.release()

    def _digest(self, planned: DatabasePlan) -> str:
        """Return the digest of a database's migrations; databases share directories."""
        place = planned.engine, self._run.databases[planned.id].directory
        if (known := self._digests.get(place)) is None:
            known = self._digests[place] = of_migrations(self._run.catalogs[planned.id])
        return known

    def _result(self, id: str, future: Any) -> bytes:
        from distributed import KilledWorker

        try:
            return future.result()  # type: ignore[no-any-return]
        except KilledWorker:
            raise ConnectionLostError(
                f"each Dask worker that migrated {id} died",
                hint="look in the logs of the workers: a file may need more memory than they have. Then run it again",
            ) from None
        except (CancelledError, asyncio.CancelledError, OSError) as error:
            if self._run.stop.is_set():
                raise InterruptedRunError("stopped on its worker") from None
            self._lost = not self._alone or self._client.status != "running"
            what = f"the Dask scheduler was lost while {id} ran" if self._lost else f"no Dask worker is left for {id}"
            detail = hidden(str(error), 500, self._run.redact)
            raise ConnectionLostError(what, detail=detail, hint=_GOES_ON) from None
        except ImportError as error:
            what = f"a Dask worker cannot migrate {id}: {hidden(str(error), 500, self._run.redact)}"
            raise WorkerError(what, hint=SAME_RELEASE) from None
        except Exception as error:  # noqa: BLE001 - of Dask itself: `migrate` never raises
            raise ConnectionLostError(
                f"Dask could not have {id} migrated: {type(error).__name__}",
                detail=hidden(str(error), 500, self._run.redact),
                hint="client, scheduler and workers need the same releases of Python and Dask",
            ) from None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Hear what the workers tell, and let signals reach them."""
        self._client.subscribe_topic(TOPIC, self._hear)
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            yield
        finally:
            self._over.set()

    def _hear(self, message: tuple[float, bytes]) -> None:
        with suppress(Exception):  # another release may have told it to another client
            told: Told = pickle.loads(message[1])  # noqa: S301 - Dask itself runs what a client sends
            if told.run_id == self._run.run_id and (in_hand := self._in_hand.get(told.database)):
                self._pass_on(told, in_hand)

    def _pass_on(self, told: Told, in_hand: _InHand) -> None:
        event = told.event
        if event is None:
            if in_hand.worker:
                what = f"the Dask worker {in_hand.worker} was lost; {told.worker} continues from what the history says"
                self._run.sink(Notice(told.database, what))
            in_hand.worker = told.worker
            return
        if isinstance(event, Notice) and not event.database:  # of the run: every worker says it for each database
            if event.text in self._said:
                return
            self._said.add(event.text)
        if isinstance(event, StepFinished):
            in_hand.finished.add(event.version)
        self._run.sink(event)

    def _watch(self) -> None:
        """Tell all workers that the run stops, again and again: one that has just started does not know it yet."""
        run = self._run
        while not self._over.is_set():
            stopping, now = run.stop.is_set(), run.cancelled.is_set()
            with suppress(Exception):  # a scheduler that is lost fails every database by itself
                if stopping:
                    payload = pickle.dumps(((run.run_id,), {"now": now}))
                    self._client.run(call("stop"), payload, on_error="ignore")
                self._look_for_workers(stopping=stopping)
            (self._over if now else run.cancelled if stopping else run.stop).wait(LOOK_EVERY)

    def _look_for_workers(self, *, stopping: bool) -> None:
        """Give up what no worker can do any more. A scheduler that is lost fails every database by itself."""
        if self._client.status != "running" or self._workers() or not self._futures:
            self._alone = 0.0
            return
        if not self._alone:
            self._alone = time.monotonic()
            self._run.sink(Notice("", "the Dask cluster has no worker; waiting for one"))
        if stopping or time.monotonic() - self._alone > max(PATIENCE, self._run.wait):
            with self._mutex:
                futures = list(self._futures.values())
            self._client.cancel(futures, force=True)

    def _workers(self) -> int:
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def _comes_a_worker(self) -> bool:
        if not self._run.wait:
            return False
        try:
            self._client.wait_for_workers(1, timeout=self._run.wait)
        except TimeoutError:
            return False
        return True


def _is_file(planned: DatabasePlan) -> bool:
    return dialect(planned.engine).container is None
