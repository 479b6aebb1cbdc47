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
from datetime import UTC, datetime, timedelta

from orchestrator import events
from orchestrator.events import Event
from orchestrator.views.pace import Pace, spoken
from orchestrator.views.table import counted

SLOW = 1.0  # seconds
FIRST_TOLD, TOLD_AGAIN = 10.0, 60.0
"""Seconds after which a database that is still at work is told of, and told of again."""
LOOK_EVERY = 1.0  # seconds
_MAX_AT_WORK = 5  # databases with a line of their own, those that take longest


class _Work:
    """One database at work: since when, what it does, when it is told of, and whether it was."""

    def __init__(self, what: str) -> None:
        self.what, self.far, self.waits = what, "", ""
        self.since = time.monotonic()
        self.due = self.since + FIRST_TOLD
        self.told = False
        self.pace = Pace()

    @property
    def text(self) -> str:
        """What it does now, in one line."""
        return "; ".join(filter(None, (self.what, self.far, self.waits)))


class PlainView:
    """Write a line for each event that matters to a person. Repeated waiting is reported once.

    While its context is entered, it also tells what takes long.
    """

    def __init__(self, say: Callable[[str], None], *, verbose: bool = False) -> None:
        self._say = say
        self._verbose = verbose
        self._mutex = threading.RLock()  # reentrant: a signal may interrupt the thread that holds it
        self._told: set[tuple[str, str]] = set()
        self._at_work: dict[str, _Work] = {}
        self._quiet_until = 0.0
        self._over = threading.Event()

    def __enter__(self) -> PlainView:
        threading.Thread(target=self._tell_what_is_long, name="orch-long", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _tell_what_is_long(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            with self._mutex, suppress(Exception):  # a view can never fail a run
                self._say_what_is_long(time.monotonic())

    def _say_what_is_long(self, now: float) -> None:
        """Tell what takes long, and when it began; then once a minute how it stands. Of many at once only their number."""
        due = [(work.since, id, work) for id, work in self._at_work.items() if now >= work.due]
        if not due or now < self._quiet_until:
            return
        due.sort(key=lambda one: one[0])
        for since, id, work in due[:_MAX_AT_WORK]:
            began = datetime.now(UTC) - timedelta(seconds=now - since)
            first = "" if work.told else f" (started at {began:%H:%M:%S} UTC)"
            self._say(f"{id}: still at work after {spoken(now - since)}{first}: {work.text}")
        if len(due) > _MAX_AT_WORK:
            self._say(f"and {len(due) - _MAX_AT_WORK:,} more at work for {spoken(now - due[-1][0])} or longer")
            self._quiet_until = now + TOLD_AGAIN
        for _, _, work in due:
            work.told, work.due = True, now + TOLD_AGAIN

    def _note(self, event: Event) -> None:
        """Remember what is at work."""
        match event:
            case events.DatabaseStarted(id):
                self._at_work[id] = _Work("connecting")
            case events.StepStarted(id, version, name, _, first, total):
                self._now(id, f"{version} {name}" + (f", statement {first + 1} of {total}" if first else ""))
            case events.StatementStarted(id, version, first, total, text):
                self._now(id, f"version {version}, statement {first + 1:,} of {total:,}: {text}")
            case events.StepProgress(id, version, what, done, total) if id in self._at_work:
                work = self._at_work[id]
                work.far = ", ".join(filter(None, (what, work.pace.told((version, what), done, total))))
            case events.StepWaiting(id, _, _, who, _, since) if id in self._at_work:
                moment = f" since {since.astimezone(UTC):%H:%M:%S} UTC" if since else ""
                self._at_work[id].waits = f"waits for {who}{moment}" if who else ""
            case events.LockWaiting(id, holder):
                self._now(id, f"waits for the migration lock, held by {holder}")
            case events.DatabaseFinished() | events.DatabaseFailed():
                self._at_work.pop(event.database, None)
            case _:
                pass

    def _now(self, id: str, what: str) -> None:
        known = self._at_work.get(id)
        work = self._at_work[id] = _Work(what)
        if known:
            work.since, work.due, work.told = known.since, known.due, known.told

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
            return _step_line(event)


def _step_line(event: Event) -> str | None:
    match event:
        case events.StepStarted(id, version, name, direction, first, total) if first:
            return f"{id}: {version} {name} ({direction.value}) continues at statement {first + 1} of {total}"
        case events.StepWaiting(id, _, file, who, detail) if who:
            return f"{id}: {file} waits: {detail}"
        case events.StepRetrying(id, version, reason, seconds):
            return f"{id}: {version} tried again in {seconds:.2g} s: {reason}"
        case events.StepFinished(id, version, name, direction, seconds) if seconds >= SLOW:
            return f"{id}: {version} {name} ({direction.value}) took {seconds:.1f} s"
        case _:
            return None
