"""`orch apply --engine dask`: the workers of a Dask cluster migrate the databases of a plan that is made here.

The walk over the graph stays here: it submits a database when its turn comes, and waits for the answer. So dependencies,
waves and the limit for each server hold across all workers. A worker that dies loses what it had in hand: the scheduler
starts those databases on another one, where lock and history decide what is left to do, as after any kill.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.engines import dialect
from orchestrator.errors import ConnectError, ConnectionLostError, InterruptedRunError, UsageError, WorkerError
from orchestrator.events import Failure, Notice, StepFinished
from orchestrator.execution.one_database import FailedElsewhereError, Migrated
from orchestrator.execution.run import Run
from orchestrator.manifest.load import find_manifest
from orchestrator.manifest.redact import redactor
from orchestrator.operations.dask_worker import SAME_RELEASE, TOPIC, Answer, Order, Told
from orchestrator.operations.plan import Planned
from orchestrator.operations.scope import Scope
from orchestrator.planning.plan import DatabasePlan, Plan
from orchestrator.secret import hidden

CONNECT_TIMEOUT = 5.0  # seconds
LOOK_EVERY = 1.0  # seconds
PATIENCE = 60.0
"""Seconds without any worker after which nothing is waited for."""
_GOES_ON = "workers that still run finish their current migration; run the same command again: it continues from there"


def require_dask() -> None:
    """Raise UsageError if Dask is not installed."""
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise UsageError("Dask is not installed (distributed)", hint="pip install 'dborch[dask]'")


@contextmanager
def on_cluster(planned: Planned, scope: Scope, scheduler: str, *, create: bool, late: bool) -> Iterator[Planned]:
    """Give the plan that the workers of a cluster execute; whoever executes it must do so inside of this context.

    `create` and `late` are those of `prepare`. Databases that are files are migrated here: a worker may be on another
    machine. ConnectError if there is no scheduler or no worker, WorkerError if a worker cannot execute this plan.
    """
    run = planned.run
    run.close()  # the connections that the survey keeps for a local run
    order = Order(
        run.run_id,
        run.actor,
        run.tool,
        str(find_manifest(scope.file, os.environ, Path.cwd()).absolute()),
        str(Path(scope.env_file).absolute()) if scope.env_file else scope.env_file,
        tuple(scope.only) if scope.only else None,
        tuple(scope.exclude or ()),
        scope.no_deps,
        create,
        late,
        run.wait,
        run.lock_timeout,
    )
    with _client(scheduler, run.wait) as client:
        cluster = _Cluster(client, run, order)
        cluster.examine(planned.plan)
        with cluster.watched():
            yield replace(planned, migrate=cluster.migrate)


@contextmanager
def _client(scheduler: str, wait: float) -> Iterator[Any]:
    require_dask()
    from distributed import Client

    for name in ("distributed", "distributed.client", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what went wrong is told by us
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of releases that differ; `examine` compares what matters
            client = Client(scheduler, timeout=max(CONNECT_TIMEOUT, wait), set_as_default=False, name="orch")
    except ValueError as error:
        what = hidden("" if "@" in scheduler else f": {error}", 200, str)
        raise UsageError(
            f"--scheduler is not a valid address{what}", hint="for example --scheduler tcp://host:8786"
        ) from None
    except (OSError, TypeError, RuntimeError, ImportError) as error:
        raise ConnectError(
            f"the Dask scheduler at {hidden(scheduler, 200, redactor)} cannot be reached",
            detail=hidden(str(error), 500, redactor),
            hint="is it running, and is this its address? --wait SECONDS waits for one that starts",
        ) from None
    try:
        yield client
    finally:
        with suppress(Exception):
            client.close(timeout=2)


def _call(name: str) -> Callable[[bytes], Any]:
    """Return a function that a worker understands; a scheduler without orch passes it on."""

    def orch(payload: bytes) -> Any:
        import pickle
        from importlib import import_module

        worker = import_module("orchestrator.operations.dask_worker")
        arguments, named = pickle.loads(payload)  # noqa: S301 - Dask itself runs what a client sends
        return pickle.dumps(getattr(worker, name)(*arguments, **named))

    return orch


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
        kinds = {(one.engine, one.steps): one for one in changing}
        servers = {one.id: (one.engine, one.name, one.endpoint) for one in changing}
        call = pickle.dumps(((self._order, list(kinds.values()), servers), {}))
        answers = self._client.run(_call("examine"), call, on_error="return")
        wrong = {worker: found for worker, answer in sorted(answers.items()) if (found := _unable(worker, answer))}
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
        call = pickle.dumps(((self._order, planned), {}))
        with self._mutex:
            self._in_hand[id] = mine
            future = self._client.submit(_call("migrate"), call, key=f"orch-{self._run.run_id}-{id}", pure=False)
            self._futures[id] = future
        try:
            answer: Answer = pickle.loads(self._result(id, future))  # noqa: S301 - of our own worker
        finally:
            with self._mutex:
                del self._in_hand[id], self._futures[id]
            future.release()
        for step in answer.finished:
            if step.version not in mine.finished:  # the answer has what an event lost
                mine.finished.add(step.version)
                self._run.sink(step)
        if answer.interrupted:
            raise InterruptedRunError("stopped on its worker")
        if answer.failure:
            raise FailedElsewhereError(answer.failure)
        return Migrated(answer.version, len(mine.finished))

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
            self._lost = not self._alone
            what = f"the Dask scheduler was lost while {id} ran" if self._lost else f"no Dask worker is left for {id}"
            detail = hidden(str(error), 500, self._run.redact)
            raise ConnectionLostError(what, detail=detail, hint=_GOES_ON) from None
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
                    call = pickle.dumps(((run.run_id,), {"now": now}))
                    self._client.run(_call("stop"), call, on_error="ignore")
                self._look_for_workers(stopping=stopping)
            (self._over if now else run.cancelled if stopping else run.stop).wait(LOOK_EVERY)

    def _look_for_workers(self, *, stopping: bool) -> None:
        """Give up what no worker can do any more."""
        if self._workers() or not self._futures:
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


def _unable(worker: str, answer: bytes | BaseException) -> WorkerError | None:
    """Return why a worker cannot execute a plan; None if it can."""
    who = f"the Dask worker {worker}"
    if isinstance(answer, ModuleNotFoundError):
        return WorkerError(f"{who} cannot import {answer.name}", hint=SAME_RELEASE)
    if isinstance(answer, BaseException):
        return WorkerError(
            f"{who} cannot run orch: {hidden(f'{type(answer).__name__}: {answer}', 500, redactor)}",
            hint="client, scheduler and workers need the same releases of Python, Dask and dborch",
        )
    failure: Failure | None = pickle.loads(answer)  # noqa: S301 - of our own worker
    if failure is None:
        return None
    hint = failure.hint or "a worker reads its own files and variables: they must be those of the client"
    return WorkerError(f"{who}: {failure.what}", where=failure.where, detail=failure.detail, hint=hint)
