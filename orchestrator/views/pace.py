"""How far a long step is, and how long it will still take, from what was counted so far."""

from __future__ import annotations

import time

ENOUGH, A_PART = 5.0, 0.02
"""So many seconds, and such a part of the whole, must be over before the rest is estimated."""


class Pace:
    """What was counted of one thing that is being done, such as the scan of a table for an index."""

    def __init__(self) -> None:
        self._what: object = None
        self._began = 0.0
        self._first = 0

    def told(self, what: object, done: int, total: int) -> str:
        """Return `61 %, 2 min left`, or `61 %`; '' if nothing is counted. Another `what` begins anew."""
        if total <= 0:
            return ""
        now = time.monotonic()
        if what != self._what or done < self._first:
            self._what, self._began, self._first = what, now, done
        part = min(done, total) / total
        percent = f"{int(100 * part)} %"
        counted, since = done - self._first, now - self._began
        if since < ENOUGH or counted < A_PART * total or done >= total:
            return percent
        return f"{percent}, {spoken(since * (total - done) / counted)} left"


def spoken(seconds: float) -> str:
    """Return a duration as people read it at a glance: 0.4 s, 12 s, 3 min 5 s, 2 h 4 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
