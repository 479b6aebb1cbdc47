"""Decide whether a migration is tried again, after which pause, and which sessions blocked it."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager

from orchestrator.engines.base import Session
from orchestrator.errors import StatementError
from orchestrator.execution.watching import Watching
from orchestrator.model import Activity, Blocking

_RETRIES = 5
_LONGEST_PAUSE = 8.0  # seconds
_LONGEST_QUEUE_PAUSE = 3.0  # seconds; of a file that waits for the lock of a table
_JITTER = 0.25  # of a pause: several runs must not try at the same moments
_MAX_LINE = 300  # characters of what is told of a session in the way
_CONTENDED_PAUSE = 0.02, 0.2  # seconds, at random: what was in the way is over soon


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

        After a conflict with another session, the error says how often and how soon to try again. After another transient
        error there are _RETRIES more tries. A file that waits for the lock of a table is tried until all
        its tries have waited for `lock_timeout` seconds together (None or 0: for ever), if that is longer.
        """
        if error.contended:
            self._contended += 1
            return random.uniform(*_CONTENDED_PAUSE) if self._contended <= error.contended else None  # noqa: S311
        self._count += 1
        self._waited += error.waited
        queues = error.waited > 0 and (not lock_timeout or self._waited < lock_timeout - 0.001)
        if not error.transient or (self._count > _RETRIES and not queues):
            return None
        longest = _LONGEST_QUEUE_PAUSE if error.waited else _LONGEST_PAUSE
        pause: float = min(longest, first_pause * 2 ** min(self._count - 1, 10))
        return pause * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret

    def watched(
        self, watching: Watching, session: Session, tell: Callable[[Activity], None]
    ) -> AbstractContextManager[None]:
        """Run one try, and ask the server about it: at once if an earlier try got no lock, otherwise only if it takes long."""

        def hear(activity: Activity) -> None:
            found = activity.blocking and activity.blocking._replace(detail=self._told(activity.blocking))
            tell(activity._replace(blocking=found))
            self.blocking = found or self.blocking

        return watching.step(session, hear, at_once=min(0.1, self._waited / 4) if self._waited else None)

    def explained(self, error: StatementError) -> StatementError:
        """Add the blocking sessions to the error of a lock; return any other error unchanged."""
        if not (error.waited and self.blocking):
            return error
        return error.completed(
            what=f"{error.what}: a lock that it needs is held by {self.blocking.who}",
            detail="\n".join(filter(None, (error.detail, self.blocking.detail))),
            hint=self.blocking.hint,
        )

    def _told(self, blocking: Blocking) -> str:
        """Describe the blocking sessions, one line for each. Remove secrets before shortening."""
        lines = (self._redact(line) for line in blocking.detail.splitlines())
        return "\n".join(line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}…" for line in lines)
