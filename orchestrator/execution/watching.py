"""Ask the server, over a second connection, what a step does that takes long: how far it is, and what it waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from orchestrator.engines.base import Session
from orchestrator.model import Activity

_LONG_AFTER = 3.0  # seconds of a step, until somebody looks at it
_AT_ONCE = 4  # steps of a run that are looked at, each over a connection
LOOK_EVERY = 0.5  # seconds; of what takes very long, _SELDOM of its time
_SELDOM = 0.02
IDLE = 5.0  # seconds without a long step, until the thread that waits for one ends
_CONNECTED_WITHIN = 2.0  # seconds

Tell = Callable[[Activity], None]


class _Step:
    """A step at work, and who looks at it: nobody, as long as it is short."""

    connected: threading.Event
    over: threading.Event

    def __init__(self, session: Session, tell: Tell) -> None:
        self.session = session
        self.tell = tell
        self.began = time.monotonic()
        self.looking: threading.Thread | None = None

    def look(self, first: float = 0.0) -> None:
        """Ask until the step is over, first after so many seconds. What cannot be asked is not told: no step depends on it."""
        with suppress(Exception), self.session.watch() as activity:
            self.connected.set()
            pause = first
            while not self.over.wait(pause):
                self.tell(activity())
                pause = max(LOOK_EVERY, _SELDOM * (time.monotonic() - self.began))
        self.connected.set()

    def start_to_look(self, first: float = 0.0) -> None:
        """Look from a thread of its own; not at all if the system gives no more threads."""
        self.connected, self.over = threading.Event(), threading.Event()
        thread = threading.Thread(target=self.look, args=(first,), name="orch-look", daemon=True)
        with suppress(RuntimeError):
            thread.start()
            self.looking = thread


class Watching:
    """The steps of one run that may become long. While none is, there is no connection and no thread for each."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._steps: dict[_Step, None] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def step(self, session: Session, tell: Tell, at_once: float | None = None) -> Iterator[None]:
        """Do a step. If it takes long, `tell` hears from another thread what the server says of it, again and again.

        `at_once`: it is looked at after so many seconds, over a connection that is made before the step begins.
        """
        step = _Step(session, tell)
        if at_once is not None:
            step.start_to_look(at_once)
            step.connected.wait(_CONNECTED_WITHIN)
        with self._mutex:
            self._steps[step] = None
            self._begin()
        try:
            yield
        finally:
            with self._mutex:
                del self._steps[step]
            if step.looking:
                step.over.set()
                step.looking.join(_CONNECTED_WITHIN)  # its connection must be gone: a copy of this database may be next

    def _begin(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._wait_for_long_ones, name="orch-watch", daemon=True)
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def _wait_for_long_ones(self) -> None:
        last = time.monotonic()
        while True:
            time.sleep(LOOK_EVERY)
            now = time.monotonic()
            with self._mutex:
                if self._steps:
                    last = now
                elif now - last > IDLE:
                    self._thread = None
                    return
                free = _AT_ONCE - sum(step.looking is not None for step in self._steps)
                for step in self._steps:  # the oldest first
                    if free <= 0 or now - step.began < _LONG_AFTER:
                        break
                    if step.looking is None:
                        step.start_to_look()
                        free -= 1
