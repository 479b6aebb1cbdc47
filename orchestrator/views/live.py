"""The live view on a terminal: a row for every database that has work, totals, and the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator import events
from orchestrator.events import Event
from orchestrator.views.plain import line

MAX_ROWS = 20  # running databases first; the totals include the others


class LiveView:
    """Draw the run while the context is entered. Events may come from any thread. `readable` replaces control characters."""

    def __init__(self, console: Console, readable: Callable[[str], str], *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._readable = readable
        self._mutex = threading.RLock()  # reentrant: a signal may interrupt the thread that holds it
        self._rows: dict[str, tuple[str, str]] = {}
        self._steps = 0
        self._total = 0
        self._began = time.monotonic()
        self._live = Live(console=console, get_renderable=self._draw_safely, refresh_per_second=8, transient=True)
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
        if isinstance(event, (events.Notice, events.ServerMessage, events.Adopted, events.Stopping)) and (
            text := line(event, verbose=self._verbose)
        ):
            self._console.print(Text(self._readable(text)))

    def _take(self, event: Event) -> None:
        match event:
            case events.RunStarted(_, databases, steps):
                self._total = steps
                self._rows = dict.fromkeys(databases, ("waiting", ""))
            case events.DatabaseStarted(id):
                self._rows[id] = ("running", "connecting")
            case events.DatabaseCreated(id):
                self._rows[id] = ("running", "created")
            case events.LockWaiting(id, holder):
                self._rows[id] = ("running", f"waiting for the lock: {holder}")
            case events.ServerWaiting(id, reason):
                self._rows[id] = ("running", f"waiting for the server: {reason}")
            case events.StepStarted(id, version, name, _, first, total):
                place = f": statement {first + 1} of {total}" if first else ""
                self._rows[id] = ("running", f"{version} {name}{place}")
            case events.StatementDone(id, version, applied, total) if applied < total:
                self._rows[id] = ("running", f"{version}: statement {applied + 1} of {total}")
            case events.StepRetrying(id, version, reason):
                self._rows[id] = ("running", f"{version} tried again: {reason}")
            case events.StepFinished():
                self._steps += 1
            case events.DatabaseFinished(id, version, _, seconds):
                self._rows[id] = ("done", f"version {version} in {seconds:.2f} s")
            case events.DatabaseFailed(id, failure):
                self._rows[id] = ("failed", failure.what)
            case events.DatabaseBlocked(id, by):
                self._rows[id] = ("blocked", f"by {', '.join(by)}")
            case _:
                pass

    def _draw_safely(self) -> Group:
        try:
            return self._draw()
        except Exception as error:  # noqa: BLE001 - drawn by a thread of rich's own, which would print a traceback
            return Group(Text(f"this view cannot be drawn: {type(error).__name__}"))

    def _draw(self) -> Group:
        order = {"running": 0, "failed": 1, "blocked": 2, "done": 3, "waiting": 4}
        styles = {"running": "yellow", "failed": "red", "blocked": "red", "done": "green", "waiting": "dim"}
        with self._mutex:
            rows = sorted(self._rows.items(), key=lambda row: order[row[1][0]])
            steps, total = self._steps, self._total
        if not rows:  # the run has not begun
            return Group()
        grid = Table.grid(padding=(0, 2))
        for id, (state, text) in rows[:MAX_ROWS]:
            what = self._readable(text.split("\n")[0])
            grid.add_row(
                Text(self._readable(id)),
                Text(state, style=styles[state]),
                Text(what, overflow="ellipsis", no_wrap=True),
            )
        done = sum(state == "done" for _, (state, _) in rows)
        summary = (
            f"{done} of {len(rows)} databases, {steps} of {total} migrations, {time.monotonic() - self._began:.1f} s"
        )
        bar = Table.grid()  # in a grid: the bar alone does not end its line
        bar.add_row(ProgressBar(total=max(total, 1), completed=steps, width=40))
        return Group(grid, bar, Text(summary, overflow="ellipsis", no_wrap=True))
