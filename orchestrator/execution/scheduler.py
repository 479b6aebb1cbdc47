"""Walk the dependency graph with a bounded pool. The one place that owns threads and the order in which work starts."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue

JOBS = 16
JOBS_PER_SERVER = 8


@dataclass
class Walked:
    """What became of every id: `failed` are root causes, `blocked` had one upstream, `skipped` were never begun."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def walk(
    dependencies: Mapping[str, Sequence[str]],
    work: Callable[[str], bool],
    *,
    server_of: Mapping[str, str],
    jobs: int = JOBS,
    jobs_per_server: int = JOBS_PER_SERVER,
    stop: threading.Event | None = None,
    fail_fast: bool = False,
    abandon: bool = False,
    on_blocked: Callable[[str, tuple[str, ...]], None] = lambda _id, _by: None,
) -> Walked:
    """Call `work(id)` for every id, each as soon as all that it depends on is done, and return what became of all.

    `work` returns whether it succeeded; an exception of it ends the walk. A failure blocks only what is downstream.
    After `stop` is set (or a failure with `fail_fast`) nothing new starts, and what runs is waited for. Dependencies that
    are not keys are taken as done. The mapping must have no cycle. A KeyboardInterrupt waits for what runs, too, unless
    `abandon` says that nothing is lost by leaving it behind.
    """
    stop = stop or threading.Event()
    waiting = {id: {need for need in needs if need in dependencies} for id, needs in dependencies.items()}
    dependants: dict[str, list[str]] = {id: [] for id in dependencies}
    for id, needs in waiting.items():
        for need in needs:
            dependants[need].append(id)
    ready: dict[str, deque[str]] = {}
    causes: dict[str, set[str]] = {}
    busy: dict[str, int] = {}
    finished: SimpleQueue[tuple[str, bool | BaseException]] = SimpleQueue()
    result = Walked()
    running = 0

    def run(id: str) -> None:
        try:
            finished.put((id, work(id)))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread and raised there
            finished.put((id, error))

    def enqueue(id: str) -> None:
        ready.setdefault(server_of.get(id, ""), deque()).append(id)

    def settle(id: str, good: bool) -> None:
        (result.done if good else result.failed).append(id)
        queue = [id]
        while queue:
            current = queue.pop()
            for dependant in dependants[current]:
                waiting[dependant].discard(current)
                if current in causes or not good:
                    causes.setdefault(dependant, set()).update(causes.get(current, {id}))
                if waiting[dependant]:
                    continue
                if dependant not in causes:
                    enqueue(dependant)
                else:
                    result.blocked.append(dependant)
                    on_blocked(dependant, tuple(sorted(causes[dependant])))
                    queue.append(dependant)

    for id, needs in waiting.items():
        if not needs:
            enqueue(id)
    pool = ThreadPoolExecutor(max_workers=max(1, min(jobs, len(dependencies))), thread_name_prefix="orch")
    left_behind = False
    try:
        while True:
            if not stop.is_set() and not (fail_fast and result.failed):
                for server, queue in ready.items():
                    while queue and running < jobs and busy.get(server, 0) < jobs_per_server:
                        busy[server] = busy.get(server, 0) + 1
                        running += 1
                        pool.submit(run, queue.popleft())
            if running == 0:
                break
            id, outcome = finished.get()
            running -= 1
            busy[server_of.get(id, "")] -= 1
            if isinstance(outcome, BaseException):
                stop.set()
                raise outcome
            settle(id, outcome)
    except KeyboardInterrupt:
        stop.set()
        left_behind = abandon
        raise
    finally:
        pool.shutdown(wait=not left_behind)
    settled = {*result.done, *result.failed, *result.blocked}
    result.skipped = [id for id in dependencies if id not in settled]
    return result
