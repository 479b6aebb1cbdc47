"""Data that all stages of one run share: actor, targets, limits and the sink of events."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TypeVar

from orchestrator.engines.base import Engine
from orchestrator.errors import ConnectError
from orchestrator.events import ServerWaiting, Sink
from orchestrator.execution.scheduler import JOBS, JOBS_PER_SERVER
from orchestrator.execution.sinks import redacting, tolerant
from orchestrator.execution.timings import Timings
from orchestrator.execution.watching import Watching
from orchestrator.model import Database, File, Hook, Migration, Script, Target
from orchestrator.records import dataclass, field
from orchestrator.secret import Redact, Secret

_RETRY_EVERY = 0.5  # seconds
LOCK_TIMEOUT = 60.0  # seconds

Result = TypeVar("Result")


def lock_wait(target: Target, lock_timeout: float | None) -> float:
    """Return how many seconds to wait for the lock of a database."""
    if lock_timeout is not None:
        return lock_timeout
    misspelt = number(target, "x-advisory-lock-timout", LOCK_TIMEOUT)  # golang-migrate's own spelling, for years
    return number(target, "x-advisory-lock-timeout", misspelt)


def number(target: Target, parameter: str, default: float) -> float:
    """Return a number among golang-migrate's DSN parameters; whoever read the DSN has checked it."""
    text = target.parameters.get(parameter)
    return float(text) if text else default


@dataclass(frozen=True)
class Run:
    """One run of orch over chosen databases. `wait` and `lock_timeout` are seconds, `started` is monotonic time.

    Without a `lock_timeout` the DSN's `x-advisory-lock-timeout` holds, or a minute. After `stop` nothing new begins, after
    `cancelled` what runs ends too. `turns` has a lock for each server: files that were in each other's way take turns.
    `ready` returns when what a database needs of other manifests is migrated, or raises. `hooks` are webhooks with their
    URLs, None where these are not set. `places` says which entry of the manifest has each version table (`History.place`).
    `bootstrap` makes a missing database that is a copy of a migrated one, and returns
    whether it did. `cloned` is the reason in the records of a database from which such copies are made.
    """

    run_id: str
    actor: str
    tool: str
    databases: Mapping[str, Database]
    targets: Mapping[str, Target]
    catalogs: Mapping[str, tuple[Migration, ...]]
    engines: Mapping[str, Engine]
    read_script: Callable[[Database, File], Script]
    redact: Redact
    sink: Sink
    jobs: int = JOBS
    jobs_per_server: int | Mapping[str, int] = JOBS_PER_SERVER
    wait: float = 0.0
    lock_timeout: float | None = None
    fail_fast: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: float = field(default_factory=time.monotonic)
    turns: Mapping[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))
    ready: Callable[[str], None] = lambda _id: None
    timings: Timings = field(default_factory=Timings)
    hooks: tuple[tuple[Hook, Secret | None], ...] = ()
    places: dict[str, str] = field(default_factory=dict)
    bootstrap: Callable[[str], bool] = lambda _id: False
    cloned: str = ""
    watching: Watching = field(default_factory=Watching)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sink", tolerant(redacting(self.sink, self.redact)))

    @property
    def server_of(self) -> dict[str, str]:
        """Database id → the key of its server."""
        return {id: target.server_key for id, target in self.targets.items()}

    @property
    def until(self) -> float | None:
        """The monotonic time until which the run waits for servers that are not ready; None if it does not wait."""
        return self.started + self.wait if self.wait else None

    def close(self) -> None:
        """Close the connections that engines keep between two sessions, in a process that continues."""
        for engine in self.engines.values():
            engine.close()

    def when_ready(self, id: str, work: Callable[[], Result]) -> Result:
        """Call `work` and return its result. While the server is not ready, try again until `wait` has passed."""
        while True:
            try:
                return work()
            except ConnectError as error:
                if not error.transient or time.monotonic() >= (self.until or 0) or self.stop.is_set():
                    raise
                self.sink(ServerWaiting(id, self.redact(error.detail or error.what)))
                self.stop.wait(_RETRY_EVERY)
