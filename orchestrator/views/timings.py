"""Where the time of a run went, as a table for people."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from orchestrator.events import Event, StepFinished
from orchestrator.views.table import counted, table

SLOWEST = 10


class TimingsView:
    """Takes the events of a run and tells what its stages and its slowest migrations took."""

    def __init__(self, start_up: float) -> None:
        self._start_up = start_up
        self._steps: list[tuple[float, str]] = []
        self._mutex = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, StepFinished):
            name = f"{event.database}: {event.version} {event.name} ({event.direction.value})"
            with self._mutex:
                self._steps.append((event.seconds, name))

    def text(self, stages: Mapping[str, tuple[float, int, bool]], whole: float) -> str:
        """Return the table.

        `stages` have their seconds, how many measurements these are, and whether they were made side by side. `whole` are
        the seconds of the process until now.
        """
        rows = [("start-up", _shown(self._start_up), "")]
        rows += [(name, _shown(spent[0]), _note(*spent[1:])) for name, spent in stages.items()]
        if self._steps:
            seconds = sum(seconds for seconds, _ in self._steps)
            rows.append(("migrations", _shown(seconds), _note(len(self._steps), True)))
        rows.append(("whole process", _shown(whole), ""))
        slowest = sorted(self._steps, reverse=True)[:SLOWEST]
        rows += [(f"  {name}", _shown(seconds), "") for seconds, name in slowest]
        return table(("STAGE", "SECONDS", "NOTE"), rows)


def _shown(seconds: float) -> str:
    return f"{seconds:9.3f}"


def _note(times: int, summed: bool) -> str:
    return f"sum of {counted(times, 'measurement')} in parallel" if summed and times > 1 else ""
