"""Plain lines, for pipes, logs and CI: one when a database is done, and one for all that is out of the ordinary.

The plan has told every step before, and the end tells every error and what it blocks: neither is said twice. A step's
time is said from a second on, so that the log of an ordinary run is the same every time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchestrator import events
from orchestrator.events import Event
from orchestrator.views.table import counted

SLOW = 1.0  # seconds


class PlainView:
    """Writes a line for each event that a person wants to read. Repeated waiting is told once."""

    def __init__(self, say: Callable[[str], None], *, verbose: bool = False) -> None:
        self._say = say
        self._verbose = verbose
        self._mutex = threading.RLock()  # a signal may interrupt the thread that holds it, and be told too
        self._told: set[tuple[str, str]] = set()

    def __call__(self, event: Event) -> None:
        """Take one event; may be called from any thread."""
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
    """Return what a person reads of an event; None for one that the others make plain.

    Of the server's messages that are WARNINGs; the others if `verbose`.
    """
    match event:
        case events.ServerWaiting(id, reason):
            return f"{id}: waiting for the server: {reason}"
        case events.DatabaseCreated(id, by_other) if by_other:
            return f"{id}: somebody else created it"
        case events.LockWaiting(id, holder):
            return f"{id}: waiting for the lock, held by {holder}"
        case events.Adopted(id, versions, direction):
            did = "applied" if direction.value == "up" else "took back"
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
            return f"{id}: {version} {name} " + (
                f"left out: {left_out}" if left_out else f"verified in {seconds:.2f} s"
            )
        case events.Stopping(now):
            return (
                "stopping: cancelling what runs"
                if now
                else "stopping: what runs may finish, nothing new starts (again: cancel it)"
            )
        case _:
            return None
