"""Walk the dependency graph with a bounded pool of threads. No other module starts migration threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from queue import Empty, SimpleQueue

from orchestrator.records import dataclass, field

JOBS = 16
JOBS_PER_SERVER = 8
_LOOK_EVERY = 1.0
"""Seconds. A signal that comes just before Python begins to wait is handled only when the wait ends (CPython 3.11)."""


@dataclass
class Walked:
    """The result for every id: `failed` are root causes, `blocked` depend on one, `skipped` were never started."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


Settle = Callable[[bool], None]
"""Tells whether a gate is open; may be called from any thread, once."""
Gate = Callable[[Settle], None]
"""Begins to wait for something outside of this walk, and returns at once."""
_NO_GATES: Mapping[str, Gate] = {}
_NOTHING: Mapping[str, Sequence[str]] = {}


def walk(
    dependencies: Mapping[str, Sequence[str]],
    work: Callable[[str], bool],
    *,
    server_of: Mapping[str, str],
    jobs: int = JOBS,
    jobs_per_server: int | Mapping[str, int] = JOBS_PER_SERVER,
    stop: threading.Event | None = None,
    fail_fast: bool = False,
    abandon: bool = False,
    on_blocked: Callable[[str, tuple[str, ...]], None] = lambda _id, _by: None,
    after: Mapping[str, Sequence[str]] = _NOTHING,
    gates: Mapping[str, Gate] = _NO_GATES,
) -> Walked:
    """Call `work(id)` for every id as soon as its dependencies are done, and return the results.

    `work` returns whether it succeeded; an exception of it ends the walk. A failure blocks only what is downstream.
    `jobs_per_server` is one limit for every server, or a limit for each.
    After `stop` is set (or a failure with `fail_fast`) nothing new starts, and what runs is waited for. Dependencies that
    are not keys are taken as done. The mapping must have no cycle. A KeyboardInterrupt waits for what runs, too, unless
    `abandon` says that nothing is lost by leaving it behind.

    `after` has ids that must have come to an end before an id starts, whatever that end is. An id among `gates` is no
    work: it takes no thread and no room, and settles when its gate says so. A gate must settle soon after `stop` is set.
    """
    stop = stop or threading.Event()
    queue = _Queue(dependencies, server_of, jobs_per_server, on_blocked, after, gates)
    finished: SimpleQueue[tuple[str, bool | BaseException]] = SimpleQueue()

    def run(id: str) -> None:
        try:
            finished.put((id, work(id)))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread and raised there
            finished.put((id, error))

    threads = _Threads(run)
    left_behind = False
    try:
        while True:
            if not stop.is_set() and not (fail_fast and queue.result.failed):
                for id in queue.gates():
                    gates[id](partial(_settle, finished, id))
                for id in queue.take(jobs):
                    threads.give(id, busy=queue.running)
            if queue.running == 0 and queue.waiting == 0:
                break
            try:
                id, outcome = finished.get(timeout=_LOOK_EVERY)
            except Empty:
                continue
            if isinstance(outcome, BaseException):
                stop.set()
                raise outcome
            queue.settle(id, outcome)
    except KeyboardInterrupt:
        stop.set()
        left_behind = abandon
        raise
    finally:
        threads.end(wait=not left_behind)
    result = queue.result
    settled = {*result.done, *result.failed, *result.blocked}
    result.skipped = [id for id in dependencies if id not in settled]
    return result


def _settle(finished: SimpleQueue[tuple[str, bool | BaseException]], id: str, is_open: bool) -> None:
    finished.put((id, is_open))


class _Threads:
    """Threads that call `work` with one id after another. `concurrent.futures` would import `logging` in every run."""

    def __init__(self, work: Callable[[str], None]) -> None:
        self._work = work
        self._given: SimpleQueue[str | None] = SimpleQueue()
        self._all: list[threading.Thread] = []

    def give(self, id: str, *, busy: int) -> None:
        """Call `work(id)` in a thread. `busy` are the ids that are not finished, with this one: as many threads as that."""
        self._given.put(id)
        if len(self._all) < busy:
            thread = threading.Thread(target=self._run, name=f"orch_{len(self._all)}")
            self._all.append(thread)
            thread.start()

    def _run(self) -> None:
        while (id := self._given.get()) is not None:
            self._work(id)

    def end(self, *, wait: bool) -> None:
        """End each thread once it has nothing more to do."""
        for _ in self._all:
            self._given.put(None)
        for thread in self._all:
            if wait and thread.ident is not None:  # a signal may come before it starts
                thread.join()


class _Queue:
    """The ids that are ready to start, by server, and those that wait for others. Used by one thread.

    `_free` are the servers that have both an id that is ready and room for it: the cost of a step does not grow with
    the number of servers.
    """

    def __init__(
        self,
        dependencies: Mapping[str, Sequence[str]],
        server_of: Mapping[str, str],
        jobs_per_server: int | Mapping[str, int],
        on_blocked: Callable[[str, tuple[str, ...]], None],
        after: Mapping[str, Sequence[str]],
        gates: Mapping[str, Gate],
    ) -> None:
        self.result = Walked()
        self.running = 0
        self.waiting = 0  # for gates
        self._gates = gates
        self._to_begin: list[str] = []
        self._after = {id: {other for other in others if other in dependencies} for id, others in after.items()}
        self._followers: dict[str, list[str]] = {}
        for id, others in self._after.items():
            for other in others:
                self._followers.setdefault(other, []).append(id)
        self._server_of = server_of
        self._jobs_per_server = jobs_per_server
        self._on_blocked = on_blocked
        self._waiting = {id: {need for need in needs if need in dependencies} for id, needs in dependencies.items()}
        self._dependants: dict[str, list[str]] = {id: [] for id in dependencies}
        for id, needs in self._waiting.items():
            for need in needs:
                self._dependants[need].append(id)
        self._ready: dict[str, deque[str]] = {}
        self._free: dict[str, None] = {}
        self._busy: dict[str, int] = {}
        self._causes: dict[str, set[str]] = {}
        for id, needs in self._waiting.items():
            if not needs and not self._after.get(id):
                self._enqueue(id)

    def _enqueue(self, id: str) -> None:
        if id in self._gates:
            self._to_begin.append(id)
            return
        server = self._server_of.get(id, "")
        self._ready.setdefault(server, deque()).append(id)
        self._look_at(server)

    def _look_at(self, server: str) -> None:
        """Note whether a server has work that may start now."""
        if self._ready.get(server) and self._busy.get(server, 0) < self._room(server):
            self._free.setdefault(server)
        else:
            self._free.pop(server, None)

    def _room(self, server: str) -> int:
        limits = self._jobs_per_server
        return limits if isinstance(limits, int) else limits.get(server, JOBS_PER_SERVER)

    def take(self, jobs: int) -> Iterator[str]:
        """Yield the ids that may start now, within both limits, and count them as running."""
        while self._free and self.running < jobs:
            server = next(iter(self._free))
            self._busy[server] = self._busy.get(server, 0) + 1
            self.running += 1
            id = self._ready[server].popleft()
            self._look_at(server)
            yield id

    def gates(self) -> list[str]:
        """Return the gates that may begin to wait, and count them as waiting."""
        begun, self._to_begin = self._to_begin, []
        self.waiting += len(begun)
        return begun

    def settle(self, id: str, good: bool) -> None:
        """Record the result of an id: its dependents become ready or blocked."""
        if id in self._gates:
            self.waiting -= 1
        else:
            self.running -= 1
            server = self._server_of.get(id, "")
            self._busy[server] -= 1
            self._look_at(server)
        (self.result.done if good else self.result.failed).append(id)
        queue = [id]
        while queue:
            current = queue.pop()
            for follower in self._followers.get(current, ()):
                self._after[follower].discard(current)
                if self._is_due(follower):
                    queue += self._start_or_block(follower)
            for dependant in self._dependants[current]:
                self._waiting[dependant].discard(current)
                if current in self._causes or not good:
                    self._causes.setdefault(dependant, set()).update(self._causes.get(current, {id}))
                if self._is_due(dependant):
                    queue += self._start_or_block(dependant)

    def _is_due(self, id: str) -> bool:
        return not self._waiting[id] and not self._after.get(id)

    def _start_or_block(self, id: str) -> list[str]:
        """Put an id in its queue; or return it, as one that is blocked and has settled too."""
        if id not in self._causes:
            self._enqueue(id)
            return []
        self.result.blocked.append(id)
        self._on_blocked(id, tuple(sorted(self._causes[id])))
        return [id]
