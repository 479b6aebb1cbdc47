"""Plain lines, for pipes, logs and CI: one a thing that happened."""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchestrator import events
from orchestrator.events import Event


class PlainView:
    """Writes a line for each event that a person wants to read. Repeated waiting is told once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._mutex = threading.RLock()  # a signal may interrupt the thread that holds it, and be told too
        self._told: set[tuple[str, str]] = set()

    def __call__(self, event: Event) -> None:
        """Take one event; may be called from any thread."""
        text = line(event)
        if text is None:
            return
        with self._mutex:
            if isinstance(event, (events.ServerWaiting, events.LockWaiting)):
                key = (event.database, type(event).__name__)
                if key in self._told:
                    return
                self._told.add(key)
            self._say(text)


def line(event: Event) -> str | None:
    """Return what a person reads of an event; None for one that the others make plain."""
    match event:
        case events.ServerWaiting(id, reason):
            return f"{id}: waiting for the server: {reason}"
        case events.DatabaseCreated(id, by_other):
            return f"{id}: " + ("somebody else created it" if by_other else "created")
        case events.LockWaiting(id, holder):
            return f"{id}: waiting for the lock, held by {holder}"
        case events.Adopted(id, versions, direction):
            did = "applied" if direction.value == "up" else "took back"
            return f"{id}: adopted what golang-migrate {did}: {', '.join(map(str, versions))}"
        case events.StepStarted(id, version, name, direction, first, total) if first:
            return f"{id}: {version} {name} ({direction.value}) continues at statement {first + 1} of {total}"
        case events.StepRetrying(id, version, reason, seconds):
            return f"{id}: {version} tried again in {seconds:g} s: {reason}"
        case events.StepFinished(id, version, name, direction, seconds):
            return f"{id}: {version} {name} ({direction.value}) done in {seconds:.2f} s"
        case events.Notice(id, text):
            return f"{id}: {text}"
        case events.DatabaseFailed(id, failure):
            return f"{id}: FAILED: {failure.where + ': ' if failure.where else ''}{failure.what}"
        case events.Verified(id, version, name, _, events.Failure() as failure):
            return f"{id}: {version} {name} FAILED: {failure.where + ': ' if failure.where else ''}{failure.what}"
        case events.Verified(id, version, name, seconds, _, left_out):
            return f"{id}: {version} {name} " + (
                f"left out: {left_out}" if left_out else f"verified in {seconds:.2f} s"
            )
        case events.DatabaseBlocked(id, by):
            return f"{id}: blocked by {', '.join(by)}"
        case events.DatabaseSkipped(id):
            return f"{id}: not done, the run was stopped"
        case events.Stopping(now):
            return (
                "stopping: cancelling what runs"
                if now
                else "stopping: what runs may finish, nothing new starts (again: cancel it)"
            )
        case _:
            return None
