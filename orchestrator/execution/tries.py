"""Decide whether a migration is tried again, after which pause, and which sessions blocked it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from orchestrator.engines.base import Session
from orchestrator.errors import OrchError, StatementError
from orchestrator.model import Blocking

RETRIES = 5
LONGEST_PAUSE = 8.0  # seconds
LONGEST_QUEUE_PAUSE = 3.0  # seconds; of a file that waits for the lock of a table
JITTER = 0.25  # of a pause: several runs must not try at the same moments
MAX_LINE = 300  # characters of what is told of a session in the way
CONTENDED_PAUSE = 0.02, 0.2  # seconds, at random: what was in the way is over soon
LOOK_EVERY = 0.5  # seconds
CONNECTED_WITHIN = 2.0  # seconds


class Tries:
    """The tries of one migration so far. They continue after a new connection."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._count = 0
        self._contended = 0
        self._waited = 0.0
        self.blocking: Blocking | None = None

    def pause(self, error: StatementError, lock_timeout: float | None, first_pause: float) -> float | None:
        """Return after how many seconds to try again, None: not at all.

        What was contended is tried again so often and so soon as the error says. What passes by itself is tried RETRIES
        times again. A file that waits for the lock of a table is tried until all
        its tries have waited for `lock_timeout` seconds together (None or 0: for ever), if that is longer.
        """
        if error.contended:
            self._contended += 1
            return random.uniform(*CONTENDED_PAUSE) if self._contended <= error.contended else None  # noqa: S311
        self._count += 1
        self._waited += error.waited
        queues = error.waited > 0 and (not lock_timeout or self._waited < lock_timeout - 0.001)
        if not error.transient or (self._count > RETRIES and not queues):
            return None
        longest = LONGEST_QUEUE_PAUSE if error.waited else LONGEST_PAUSE
        pause: float = min(longest, first_pause * 2 ** min(self._count - 1, 10))
        return pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret

    @contextmanager
    def watched(self, session: Session, tell: Callable[[str], None]) -> Iterator[None]:
        """Run one try, and report once, from a second connection, what it waits for.

        That is looked for at once if a try before it got no lock, else after as long as the session says, or never.
        """
        first = min(0.1, self._waited / 4) if self._waited else session.watched_after
        if first is None:
            yield
            return
        over, connected = threading.Event(), threading.Event()

        def look() -> None:
            with suppress(OrchError), session.watch() as blocking:
                connected.set()
                wait: float = first
                while not over.wait(wait):
                    found, wait = blocking(), LOOK_EVERY
                    if found is None:
                        continue
                    if self.blocking is None or found.who != self.blocking.who:
                        tell(self._told(found))
                    self.blocking = found
            connected.set()

        thread = threading.Thread(target=look, name="orch-watch", daemon=True)
        thread.start()
        connected.wait(CONNECTED_WITHIN)
        try:
            yield
        finally:
            over.set()
            thread.join(CONNECTED_WITHIN)

    def explained(self, error: StatementError) -> StatementError:
        """Add the blocking sessions to the error of a lock; return any other error unchanged."""
        if not (error.waited and self.blocking):
            return error
        return error.completed(
            what=f"{error.what}: {self.blocking.who} holds a lock that it needs",
            detail="\n".join(filter(None, (error.detail, self._told(self.blocking)))),
            hint=self.blocking.hint,
        )

    def _told(self, blocking: Blocking) -> str:
        """Describe the blocking sessions, one line for each. Remove secrets before shortening."""
        lines = (self._redact(line) for line in blocking.detail.splitlines())
        return "\n".join(line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…" for line in lines)
