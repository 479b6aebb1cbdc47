"""Plain lines for pipes, logs and CI: one for each finished database and one for each unusual event.

The plan before the run lists the steps, and the end of the run lists the errors: they are not repeated here. The time of a
step is shown if it took a second or more, so that the log of an ordinary run is the same every time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchestrator import events
from orchestrator.events import Event
from orchestrator.views.table import counted

SLOW = 1.0  # seconds


class PlainView:
    """Write a line for each event that matters to a person. Repeated waiting is reported once."""

    def __init__(self, say: Callable[[str], None], *, verbose: bool = False) -> None:
        self._say = say
        self._verbose = verbose
        self._mutex = threading.RLock()  # reentrant: a signal may interrupt the thread that holds it
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
