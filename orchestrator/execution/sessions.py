"""The sessions at work in a run, and how a signal stops it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from orchestrator.engines.base import Session
from orchestrator.events import Stopping
from orchestrator.execution.run import Run


class Sessions:
    """Knows the sessions at work. `stop` may be called by a signal handler."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._sessions: set[Session] = set()
        self._mutex = threading.RLock()  # a signal's handler may come while its own thread holds it

    @contextmanager
    def registered(self, session: Session) -> Iterator[None]:
        """Have this session cancelled too, when everything is."""
        with self._mutex:
            self._sessions.add(session)
        try:
            yield
        finally:
            with self._mutex:
                self._sessions.discard(session)

    def stop(self) -> None:
        """Start nothing new; what runs may finish. Called again: cancel on the servers."""
        again = self._run.stop.is_set()
        self._run.stop.set()
        self._run.sink(Stopping(now=again))
        if again:
            self._run.cancelled.set()
            with self._mutex:
                sessions = list(self._sessions)
            for session in sessions:
                with suppress(Exception):  # one that cannot be cancelled must not keep the others running
                    session.cancel()
