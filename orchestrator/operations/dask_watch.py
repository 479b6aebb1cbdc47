"""What the workers of a Dask cluster have in hand, and whether scheduler and workers still answer.

A database waits for its answer here, and not in Dask: a scheduler or a worker that hangs (stopped, or cut off) would be
waited for without end. Two threads look after them. One asks the scheduler, and may hang with it. The other one asks nobody
without a limit: it hands on the signals that stop the run, and gives up what nobody will answer.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from orchestrator.errors import ConnectionLostError, InterruptedRunError
from orchestrator.events import Notice
from orchestrator.execution.run import Run
from orchestrator.operations.dask_client import call, within

LOOK_EVERY = 1.0  # seconds
PATIENCE = 60.0
"""Seconds without any worker, or without an answer of the scheduler, after which nothing is waited for."""
CANCELS_WITHIN = 15.0
"""Seconds after which a second Ctrl-C gives up what is on a worker, or behind a scheduler, that does not answer."""
_TELLS_WITHIN = 2.0
_ASKS_WITHIN = 5.0
GOES_ON = "workers that still run finish their current migration; run the same command again: it continues from there"


@dataclass(eq=False)
class InHand:
    """A database that was submitted: the worker that began it, the versions of its steps that were told, its answers.

    An answer is what the worker returned, or the exception that ends the waiting.
    """

    worker: str = ""
    finished: set[int] = field(default_factory=set)
    answers: SimpleQueue[bytes | BaseException] = field(default_factory=SimpleQueue)


class Watch:
    """Knows what is in hand, and which workers there are. `lost` says why the scheduler is of no more use, or is empty."""

    def __init__(self, client: Any, run: Run) -> None:
        self._client = client
        self._run = run
        self._over = threading.Event()
        self._mutex = threading.Lock()
        self._in_hand: dict[str, InHand] = {}
        # By address: when the scheduler last heard from it, by its own clock, and when we learnt that.
        self._workers: dict[str, tuple[float, float]] = {}
        self._heard = time.monotonic()  # when the scheduler answered last
        self._alone = 0.0  # since when there is no worker
        self._cancelled = 0.0  # since when all is cancelled
        self.lost = ""

    @contextmanager
    def has(self, id: str) -> Iterator[InHand]:
        """Have a database in hand. ConnectionLostError if the scheduler is lost."""
        mine = InHand()
        with self._mutex:
            self._in_hand[id] = mine
        try:
            if self.lost:
                raise ConnectionLostError(f"the Dask scheduler {self.lost} before {id} began", hint=GOES_ON)
            yield mine
        finally:
            with self._mutex:
                del self._in_hand[id]

    def of(self, id: str) -> InHand | None:
        """Return a database that is in hand."""
        return self._in_hand.get(id)

    def workers(self) -> list[str]:
        """Return the addresses of the workers, as the scheduler told them last."""
        return list(self._workers)

    def silent(self) -> list[str]:
        """Ask again, and return the workers from which the scheduler has heard nothing since the question before."""
        began = time.monotonic()
        with suppress(Exception):
            within(_ASKS_WITHIN, self.ask, "the Dask scheduler")
        return sorted(address for address, (_, news) in self._workers.items() if news < began)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look after what is in hand."""
        self._heard = time.monotonic()
        for target in (self._ask, self._watch):
            threading.Thread(target=target, daemon=True).start()
        try:
            yield
        finally:
            self._over.set()

    def ask(self) -> None:
        """Ask the scheduler which workers there are. Waits for it without a limit."""
        found = self._client.scheduler_info(n_workers=-1)["workers"]
        now, known = time.monotonic(), self._workers
        fresh: dict[str, tuple[float, float]] = {}
        for address, about in found.items():
            seen = about.get("last_seen", now)
            fresh[address] = known[address] if address in known and known[address][0] == seen else (seen, now)
        self._workers, self._heard = fresh, now

    def _ask(self) -> None:
        while not self._over.is_set():
            with suppress(Exception):  # of a connection that is lost: Dask fails every database
                self.ask()
            self._over.wait(LOOK_EVERY)

    def _watch(self) -> None:
        """Tell all workers that the run stops, again and again: one that has just started does not know it yet."""
        run = self._run
        while not self._over.is_set():
            stopping, now = run.stop.is_set(), run.cancelled.is_set()
            if stopping:
                payload = pickle.dumps(((run.run_id,), {"now": now}))
                with suppress(Exception):  # a worker that hangs must not keep the next signal from the others
                    self._client.run(call("stop"), payload, on_error="ignore", callback_timeout=_TELLS_WITHIN)
            self._look(stopping=stopping, now=now)
            (self._over if now else run.cancelled if stopping else run.stop).wait(LOOK_EVERY)

    def _look(self, *, stopping: bool, now: bool) -> None:
        """Give up what nobody will answer."""
        if self._client.status in ("closing", "closed"):
            self._lose("was lost")
        elif time.monotonic() - self._heard > max(PATIENCE, self._run.wait):
            self._lose("does not answer")
        if now:
            self._cancelled = self._cancelled or time.monotonic()
            self._give_up_the_silent()
        self._look_for_workers(stopping=stopping)

    def _lose(self, why: str) -> None:
        self.lost = self.lost or why
        for id, one in self._all():
            one.answers.put(ConnectionLostError(f"the Dask scheduler {why}; it had {id} in hand", hint=GOES_ON))

    def _give_up_the_silent(self) -> None:
        """Give up what was cancelled where nobody says what became of it."""
        if time.monotonic() - self._cancelled < CANCELS_WITHIN:
            return
        for id, one in self._all():
            if self._is_silent(one.worker):
                silent = f"the Dask worker {one.worker} does not answer" if one.worker else "no Dask worker answers"
                self._run.sink(Notice(id, f"{silent}; a migration may still run: look with `orch status`"))
                one.answers.put(InterruptedRunError("cancelled, and its worker does not answer"))

    def _is_silent(self, worker: str) -> bool:
        since = min(self._heard, self._workers.get(worker, (0.0, 0.0))[1])
        return time.monotonic() - since > CANCELS_WITHIN

    def _look_for_workers(self, *, stopping: bool) -> None:
        """Give up what no worker can do any more."""
        if self._client.status != "running" or self._workers or not self._in_hand:
            self._alone = 0.0
            return
        if not self._alone:
            self._alone = time.monotonic()
            self._run.sink(Notice("", "the Dask cluster has no worker; waiting for one"))
        if stopping or time.monotonic() - self._alone > max(PATIENCE, self._run.wait):
            for id, one in self._all():
                no_worker = ConnectionLostError(f"no Dask worker is left for {id}", hint=GOES_ON)
                one.answers.put(InterruptedRunError("stopped on its worker") if stopping else no_worker)

    def _all(self) -> list[tuple[str, InHand]]:
        with self._mutex:
            return list(self._in_hand.items())
