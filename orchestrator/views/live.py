"""The live view on a terminal: what fails, what runs now and since when; the rest as numbers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator import events
from orchestrator.events import Event
from orchestrator.views.pace import Pace, spoken
from orchestrator.views.plain import line

_MANY_STATEMENTS = 20  # of a file of so many it is told how far it is
MAX_ROWS = 20  # the numbers below them include all others
_OTHER_LINES = 5  # of a terminal: what is not a row
# State → its sign and colour, in the order of the rows: what a person has to look at comes first.
_STATES = {
    "failed": ("✗", "red"),
    "running": ("▶", "yellow"),
    "blocked": ("⊘", "red"),
    "done": ("✓", "green"),
    "waiting": ("…", "dim"),
}
_ORDER = {state: number for number, state in enumerate(_STATES)}


@dataclass(slots=True)
class _Row:
    """One database: what it does, and since when (monotonic time); `seconds` is how long it took in all.

    `waits` stands in the place of `what` as long as it is not empty, `far` is how far it is.
    """

    state: str = "waiting"
    what: str = ""
    since: float = 0.0
    seconds: float | None = None
    waits: str = ""
    far: str = ""
    pace: Pace = field(default_factory=Pace)


class LiveView:
    """Draw the run while the context is entered. Events may come from any thread. `readable` replaces control characters."""

    def __init__(self, console: Console, readable: Callable[[str], str], *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._readable = readable
        self._mutex = threading.RLock()  # reentrant: a signal may interrupt the thread that holds it
        self._rows: dict[str, _Row] = {}
        self._steps = 0
        self._total = 0
        self._began = time.monotonic()
        self._live = Live(console=console, get_renderable=self._draw_safely, refresh_per_second=4, transient=True)
        self._console = console

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Exception):  # a closed terminal must not fail the run
            self._live.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        """Take one event."""
        with self._mutex:
            self._take(event)
        if isinstance(
            event, (events.Notice, events.StepWaiting, events.ServerMessage, events.Adopted, events.Stopping)
        ) and (text := line(event, verbose=self._verbose)):
            self._console.print(Text(self._readable(text)))

    def _take(self, event: Event) -> None:
        match event:
            case events.RunStarted(_, databases, steps):
                self._total = steps
                self._rows = {id: _Row() for id in databases}
            case events.StepFinished():
                self._steps += 1
            case events.Verified(id, version, name):
                self._steps += 1
                self._rows[id].what = f"{version} {name} verified"
            case events.DatabaseFinished(id, version, _, seconds):
                self._rows[id] = _Row("done", "" if version is None else f"version {version}", seconds=seconds)
            case events.DatabaseFailed(id, failure):
                row = self._rows.setdefault(id, _Row())
                took = time.monotonic() - row.since if row.since else None
                where = f"  {failure.where}" if failure.where else ""  # last: a line that is cut keeps what went wrong
                self._rows[id] = _Row("failed", failure.what.split("\n")[0] + where, seconds=took)
            case events.StepProgress(id, version, what, done, total):
                row = self._rows.setdefault(id, _Row())
                row.far = row.pace.told((version, what), done, total)
            case events.StepWaiting(id, version, _, who, _, since):
                moment = f" since {since.astimezone(UTC):%H:%M:%S} UTC" if since else ""
                self._rows.setdefault(id, _Row()).waits = f"{version} waits for {who}{moment}" if who else ""
            case events.DatabaseBlocked(id, by):
                self._rows[id] = _Row("blocked", f"by {', '.join(by)}")
            case events.StatementStarted(id, version, first, total, text):
                pace = self._rows.setdefault(id, _Row()).pace
                far = pace.told(version, first, total) if total >= _MANY_STATEMENTS else ""
                self._runs(id, f"{version}  {first + 1:,}/{total:,} {text}", far)
            case _:
                if (now := _now(event)) is not None:
                    self._runs(*now)

    def _runs(self, id: str, what: str, far: str = "") -> None:
        row = self._rows.setdefault(id, _Row())
        if row.state != "running":
            row.state, row.since = "running", time.monotonic()
        row.what, row.waits, row.far = what, "", far

    def _draw_safely(self) -> Group:
        try:
            return self._draw()
        except Exception as error:  # noqa: BLE001 - drawn by a thread of rich's own, which would print a traceback
            return Group(Text(f"this view cannot be drawn: {type(error).__name__}"))

    def _draw(self) -> Group:
        with self._mutex:
            counts = Counter(row.state for row in self._rows.values())
            rows = sorted(self._rows.items(), key=lambda row: _ORDER[row[1].state])[:MAX_ROWS]
            shown = [(id, row.state, row.waits or row.what, row.far, row.since, row.seconds) for id, row in rows]
            steps, total, all_rows = self._steps, self._total, len(self._rows)
        if not shown:  # the run has not begun
            return Group()
        shown = shown[: max(1, self._console.size.height - _OTHER_LINES)]
        now = time.monotonic()
        grid = Table.grid(padding=(0, 2), expand=True)
        for _ in range(3):
            grid.add_column(no_wrap=True)
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        far_is_told = any(far for *_, far, _, _ in shown)
        for _ in range(1 + far_is_told):
            grid.add_column(justify="right", no_wrap=True)
        for id, state, what, far, since, seconds in shown:
            sign, colour = _STATES[state]
            took = now - since if state == "running" else seconds
            grid.add_row(
                Text(sign, style=colour),
                Text(self._readable(id), overflow="ellipsis"),
                Text(state, style=colour),
                Text(self._readable(what.split("\n")[0])),
                *([Text(far)] if far_is_told else []),
                Text("" if took is None else spoken(took), style="dim"),
            )
        parts: list[Table | Text] = [grid]
        if left := _left(counts, Counter(state for _, state, *_ in shown)):
            parts.append(_one_line(Text(f"and {all_rows - len(shown):,} more: {left}", style="dim")))
        bar = Table.grid()  # in a grid: the bar alone does not end its line
        bar.add_row(ProgressBar(total=max(total, 1), completed=steps, width=40))
        return Group(*parts, bar, _one_line(self._summary(counts, steps, total, now)))

    def _summary(self, counts: Counter[str], steps: int, total: int, now: float) -> Text:
        summary = Text()
        for state in ("done", "running", "failed", "blocked", "waiting"):
            sign, colour = _STATES[state]
            if counts[state]:
                summary.append(f"{sign} {counts[state]:,}  ", style=colour)
        summary.append(f" {steps:,} of {total:,} migrations  {spoken(now - self._began)}")
        return summary


def _now(event: Event) -> tuple[str, str] | None:
    """Return the database that an event shows at work, and what it does now."""
    match event:
        case events.DatabaseStarted(id):
            return id, "connecting"
        case events.DatabaseCreated(id):
            return id, "created"
        case events.LockWaiting(id, holder):
            return id, f"waits for the migration lock: {holder}"
        case events.ServerWaiting(id, reason):
            return id, f"waits for the server: {reason}"
        case events.StepStarted(id, version, name, _, first, total):
            place = f"  {first + 1}/{total}" if first else ""
            return id, f"{version} {name}{place}"
        case events.StepRetrying(id, version, reason):
            return id, f"{version} tried again: {reason}"
        case _:
            return None


def _left(counts: Counter[str], shown: Counter[str]) -> str:
    """Return what there is beside the rows that are shown."""
    left = {state: counts[state] - shown[state] for state in _STATES}
    return ", ".join(f"{count:,} {state}" for state, count in left.items() if count)


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
