"""`orch apply --engine dask`: the workers of a Dask cluster migrate the databases of a plan that is made here.

The walk over the graph stays here: it submits a database when its turn comes, and waits for the answer. So dependencies,
waves and the limit for each server hold across all workers. A worker that dies loses what it had in hand: the scheduler
starts those databases on another one, where lock and history decide what is left to do, as after any kill.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from orchestrator.engines import dialect
from orchestrator.errors import ConnectError, ConnectionLostError, InterruptedRunError, UsageError, WorkerError
from orchestrator.events import Failure, Notice, StepFinished
from orchestrator.execution.one_database import FailedElsewhereError, Migrated
from orchestrator.execution.run import Run
from orchestrator.operations.assembly import Assembly
from orchestrator.operations.dask_client import SAME_RELEASE, ask_all, call, connected, unable, within
from orchestrator.operations.dask_watch import GOES_ON, LOOK_EVERY, PATIENCE, InHand, Watch
from orchestrator.operations.dask_worker import TOPIC, Answer, Order, Told
from orchestrator.operations.fingerprint import files_of, of_migrations
from orchestrator.operations.fleets import handed_over
from orchestrator.operations.plan import Planned
from orchestrator.operations.scope import Scope
from orchestrator.planning.plan import DatabasePlan, Plan
from orchestrator.secret import hidden


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


class _Cluster:
    """Has databases migrated by workers. Passes their events on, and the signals that stop the run to them."""

    def __init__(self, client: Any, run: Run, order: Order) -> None:
        self._client = client
        self._run = run
        self._order = order
        self._brief = order._replace(members=None) if order.members else order
        self._digests: dict[tuple[str, Path], str] = {}
        self._watch = Watch(client, run)
        self._unable: set[str] = set()  # workers that joined later and cannot execute this plan
        self._said: set[str] = set()
        self._mutex = threading.Lock()

    def examine(self, plan: Plan) -> None:
        """Ask every worker whether it can execute a plan. Raises ConnectError, or WorkerError for the first that cannot."""
        within(PATIENCE, self._watch.ask, "the Dask scheduler")
        if not self._watch.workers() and not self._comes_a_worker():
            raise ConnectError(
                "the Dask cluster has no worker",
                hint="start one where dborch is installed: dask worker ADDRESS; --wait SECONDS waits for the first",
            )
        changing = [one for one in plan.databases if one.has_changes and not _is_file(one)]
        kinds = {(one.engine, self._run.databases[one.id].directory, one.steps): one for one in changing}
        servers = {one.id: (one.engine, one.name, one.endpoint) for one in changing}
        payload = pickle.dumps(((self._order, [(one, self._digest(one)) for one in kinds.values()], servers), {}))
        answers = ask_all(self._client, "examine", payload, max(PATIENCE, self._run.wait), self._watch.silent)
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
        if self._run.stop.is_set():
            raise InterruptedRunError("stopped before a worker had it")
        with self._watch.has(planned.id) as mine:
            answer = self._answer(planned, mine)
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

    def _answer(self, planned: DatabasePlan, mine: InHand) -> Answer:
        """Submit a database until a worker has worked on it. One that cannot has touched no server."""
        order = self._brief
        for number in count():
            answer = self._by_a_worker(order, planned, mine, number)
            if answer.lacks_members:  # a worker that joined later
                order = self._order
            elif not answer.failure or not answer.unable or not self._does_without(answer.unable, answer.failure):
                return answer
            else:  # Dask lets a worker that is idle steal it again
                self._run.stop.wait(LOOK_EVERY)
            if self._run.stop.is_set():
                break
        raise InterruptedRunError("stopped before a worker had it")

    def _does_without(self, worker: str, failure: Failure) -> bool:
        """Give a worker nothing more: it would fail one database after another. Returns whether another one is left."""
        with self._mutex:
            known = worker in self._unable
            self._unable.add(worker)
        if not known:
            self._run.sink(Notice("", f"{failure.what}; this run gives that worker nothing more"))
        return bool(self._able())

    def _able(self) -> list[str]:
        return [one for one in self._watch.workers() if one not in self._unable]

    def _by_a_worker(self, order: Order, planned: DatabasePlan, mine: InHand, number: int) -> Answer:
        """Submit a database, and return what became of it. Raises whatever stopped it."""
        id = planned.id
        payload = pickle.dumps(((order, planned, self._digest(planned)), {}))
        able = self._able() if self._unable else ()
        where = {"workers": able, "allow_other_workers": True} if able else {}
        try:
            future = self._client.submit(
                call("migrate"), payload, key=f"orch-{self._run.run_id}-{id}-{number}", pure=False, **where
            )
        except Exception as error:  # noqa: BLE001 - the client gave up its connection
            raise self._lost(id, error) from None
        threading.Thread(target=_fetch, args=(future, mine.answers), daemon=True).start()
        try:
            found = mine.answers.get()
        finally:
            future.release()
        if isinstance(found, BaseException):
            raise self._why(id, found) from None
        return pickle.loads(found)  # type: ignore[no-any-return]  # noqa: S301 - of our own worker

    def _digest(self, planned: DatabasePlan) -> str:
        """Return the digest of a database's migrations; databases share directories."""
        place = planned.engine, self._run.databases[planned.id].directory
        if (known := self._digests.get(place)) is None:
            known = self._digests[place] = of_migrations(self._run.catalogs[planned.id])
        return known

    def _why(self, id: str, error: BaseException) -> Exception:
        """Return why there is no answer, as an error of ours."""
        from distributed import KilledWorker

        detail = hidden(str(error), 500, self._run.redact)
        if isinstance(error, ConnectionLostError | InterruptedRunError):  # given up by us
            return error
        if isinstance(error, KilledWorker):
            return ConnectionLostError(
                f"each Dask worker that migrated {id} died",
                hint="look in the logs of the workers: a file may need more memory than they have. Then run it again",
            )
        if isinstance(error, CancelledError | asyncio.CancelledError | OSError):
            return self._lost(id, error)
        if isinstance(error, ImportError):
            return WorkerError(f"a Dask worker cannot migrate {id}: {detail}", hint=SAME_RELEASE)
        return ConnectionLostError(
            f"Dask could not have {id} migrated: {type(error).__name__}",
            detail=detail,
            hint="client, scheduler and workers need the same releases of Python and Dask",
        )

    def _lost(self, id: str, error: BaseException) -> Exception:
        if self._run.stop.is_set():
            return InterruptedRunError("stopped on its worker")
        self._watch.lost = self._watch.lost or "was lost"
        detail = hidden(str(error), 500, self._run.redact)
        return ConnectionLostError(f"the Dask scheduler was lost while {id} ran", detail=detail, hint=GOES_ON)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Hear what the workers tell, and let signals reach them."""
        self._client.subscribe_topic(TOPIC, self._hear)
        with self._watch.watching():
            yield

    def _hear(self, message: tuple[float, bytes]) -> None:
        with suppress(Exception):  # another release may have told it to another client
            told: Told = pickle.loads(message[1])  # noqa: S301 - Dask itself runs what a client sends
            if told.run_id == self._run.run_id and (in_hand := self._watch.of(told.database)):
                self._pass_on(told, in_hand)

    def _pass_on(self, told: Told, in_hand: InHand) -> None:
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

    def _comes_a_worker(self) -> bool:
        if not self._run.wait:
            return False
        wait = self._run.wait
        try:
            within(2 * wait, lambda: self._client.wait_for_workers(1, timeout=wait), "the Dask scheduler")
        except TimeoutError:
            return False
        within(PATIENCE, self._watch.ask, "the Dask scheduler")
        return True


def _fetch(future: Any, answers: SimpleQueue[bytes | BaseException]) -> None:
    """Wait for what a worker returns. A thread of its own: it can hang with the scheduler."""
    try:
        answers.put(future.result())
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        answers.put(error)


def _is_file(planned: DatabasePlan) -> bool:
    return dialect(planned.engine).container is None
