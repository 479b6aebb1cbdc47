"""Plain lines for pipes, logs and CI: one for each finished database, one for each unusual event, and while something takes
long, what that is.

The plan before the run lists the steps, and the end of the run lists the errors: they are not repeated here. The time of a
step is shown if it took a second or more, so that the log of an ordinary run is the same every time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from orchestrator import events
from orchestrator.events import Event
from orchestrator.views.table import counted

SLOW = 1.0  # seconds
FIRST_TOLD, TOLD_AGAIN = 10.0, 60.0
"""Seconds after which a database that is still at work is told of, and told of again."""
MAX_AT_WORK = 5  # databases with a line of their own, those that take longest


class PlainView:
    """Write a line for each event that matters to a person. Repeated waiting is reported once.

    While its context is entered, it also tells what takes long.
    """

    def __init__(self, say: Callable[[str], None], *, verbose: bool = False) -> None:
        self._say = say
        self._verbose = verbose
        self._mutex = threading.RLock()  # reentrant: a signal may interrupt the thread that holds it
        self._told: set[tuple[str, str]] = set()
        self._at_work: dict[str, tuple[float, str]] = {}  # database → since when, and what it does now
        self._over = threading.Event()

    def __enter__(self) -> PlainView:
        threading.Thread(target=self._tell_what_is_long, name="orch-long", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _tell_what_is_long(self) -> None:
        pause = FIRST_TOLD
        while not self._over.wait(pause):
            pause = TOLD_AGAIN
            with self._mutex, suppress(Exception):  # a view can never fail a run
                self._say_what_is_long(time.monotonic())

    def _say_what_is_long(self, now: float) -> None:
        long = sorted((since, id, what) for id, (since, what) in self._at_work.items() if now - since >= FIRST_TOLD)
        for since, id, what in long[:MAX_AT_WORK]:
            self._say(f"{id}: still at work after {now - since:.0f} s: {what}")
        if len(long) > MAX_AT_WORK:
            self._say(f"and {len(long) - MAX_AT_WORK:,} more at work for {now - long[-1][0]:.0f} s or longer")

    def _note(self, event: Event) -> None:
        """Remember what is at work."""
        match event:
            case events.DatabaseStarted(id):
                self._at_work[id] = (time.monotonic(), "connecting")
            case events.StepStarted(id, version, name, _, first, total):
                self._now(id, f"{version} {name}" + (f", statement {first + 1} of {total}" if first else ""))
            case events.StatementStarted(id, version, first, total, text):
                self._now(id, f"version {version}, statement {first + 1} of {total}: {text}")
            case events.LockWaiting(id, holder):
                self._now(id, f"waits for the migration lock, held by {holder}")
            case events.DatabaseFinished() | events.DatabaseFailed():
                self._at_work.pop(event.database, None)
            case _:
                pass

    def _now(self, id: str, what: str) -> None:
        self._at_work[id] = (self._at_work.get(id, (time.monotonic(), ""))[0], what)

    def __call__(self, event: Event) -> None:
        """Take one event; may be called from any thread."""
        with self._mutex:
            self._note(event)
        text = line(event, verbose=self._verbose)
        if text is None:
            return
        with self._mutex:
            if isinstance(event, (events.ServerWaiting, events.LockWaiting)):
                key = (event.database, type(event).__name__)
                if key in self._told:
                    return
                self._told.add(key)
            self._say(text)


def line(event: Event, *, verbose: bool = False) -> str | None:
    """Return the line for an event, or None if it needs none.

    Messages of the server with a severity below WARNING need `verbose`.
    """
    match event:
        case events.ServerWaiting(id, reason):
            return f"{id}: waiting for the server: {reason}"
        case events.DatabaseCreated(id, by_other) if by_other:
            return f"{id}: another run created it"
        case events.LockWaiting(id, holder):
            return f"{id}: waiting for the lock, held by {holder}"
        case events.Adopted(id, versions, direction):
            did = "applied" if direction.value == "up" else "rolled back"
            return f"{id}: adopted what golang-migrate {did}: {', '.join(map(str, versions))}"
        case events.StepStarted(id, version, name, direction, first, total) if first:
            return f"{id}: {version} {name} ({direction.value}) continues at statement {first + 1} of {total}"
        case events.StepRetrying(id, version, reason, seconds):
            return f"{id}: {version} tried again in {seconds:.2g} s: {reason}"
        case events.StepFinished(id, version, name, direction, seconds) if seconds >= SLOW:
            return f"{id}: {version} {name} ({direction.value}) took {seconds:.1f} s"
        case events.DatabaseFinished(id, version, applied):
            return f"{id}: done, {counted(applied, 'migration')}, at {'no version' if version is None else f'version {version}'}"
        case events.Notice(id, text):
            return f"{id}: {text}" if id else text
        case events.ServerMessage(id, _, file, severity, text) if verbose or severity == "WARNING":
            return f"{id}: {file}: {severity}: {text}"
        case events.DatabaseFailed(id, failure):
            return f"{id}: FAILED{f' at {failure.where}' if failure.where else ''}"
        case events.Verified(id, version, name, _, events.Failure() as failure):
            return f"{id}: {version} {name} FAILED: {f'{failure.where}: ' if failure.where else ''}{failure.what}"
        case events.Verified(id, version, name, seconds, _, left_out):
            return f"{id}: {version} {name} " + (f"skipped: {left_out}" if left_out else f"verified in {seconds:.2f} s")
        case events.Stopping(now):
            return (
                "Cancelling the running migrations."
                if now
                else "Stopping after the running migrations. Press Ctrl-C again to cancel them."
            )
        case _:
            return None
