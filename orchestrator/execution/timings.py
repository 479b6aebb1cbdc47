"""Where the time of a run went: seconds by stage, added up over databases and threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.records import NamedTuple


class Spent(NamedTuple):
    """The seconds of a stage, and how many times it was entered. `summed`: databases at work side by side are added up."""

    seconds: float = 0.0
    times: int = 0
    summed: bool = False


class Timings:
    """Collects the durations of one run. May be used from several threads; a measurement costs about a microsecond."""

    def __init__(self) -> None:
        self.stages: dict[str, Spent] = {}
        self._mutex = threading.Lock()

    def __reduce__(self) -> tuple[type[Timings], tuple[()]]:
        """Begin anew in another process, for options that are sent to one."""
        return Timings, ()

    def add(self, stage: str, since: float, *, summed: bool = True) -> None:
        """Add the time since a monotonic moment to a stage."""
        seconds = time.monotonic() - since
        with self._mutex:
            known = self.stages.get(stage, Spent())
            self.stages[stage] = Spent(known.seconds + seconds, known.times + 1, summed)

    def merge(self, stages: Mapping[str, Spent], where: str) -> None:
        """Add what another process measured. Its stages that are no sums over databases appear as those of `where`."""
        with self._mutex:
            for stage, spent in stages.items():
                name = stage if spent.summed else f"  {where}: {stage}"
                known = self.stages.get(name, Spent())
                self.stages[name] = Spent(known.seconds + spent.seconds, known.times + spent.times, summed=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage that all databases go through together."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.add(name, started, summed=False)


def age_of_process() -> float:
    """Return for how many seconds this process has been running; 0 where the system does not tell."""
    try:
        facts = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        began = int(facts[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
