"""Wrap the listeners of a run, so that they get no secrets and cannot fail the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator import events
from orchestrator.events import Event, Failure, Sink
from orchestrator.hints import hint_of

# Only these hold text from servers and files; the others hold names of the manifest, numbers and times.
_TEXTS: dict[type, tuple[str, ...]] = {
    events.Refused: ("failure",),
    events.ServerWaiting: ("reason",),
    events.LockWaiting: ("holder",),
    events.StepRetrying: ("reason",),
    events.StatementStarted: ("text",),
    events.StepProgress: ("what",),
    events.StepWaiting: ("who", "detail"),
    events.DatabaseSkipped: ("why",),
    events.Notice: ("text",),
    events.ServerMessage: ("message",),
    events.DatabaseFailed: ("failure",),
    events.Verified: ("failure", "left_out"),
}


def redacting(sink: Sink, redact: Callable[[str], str]) -> Sink:
    """Return a sink that hides all secrets in events, in case other code forgot to hide one."""

    def take(event: Any) -> None:
        if fields := _TEXTS.get(type(event)):
            event = event._replace(**{field: _hidden(getattr(event, field), redact) for field in fields})
        sink(event)

    return take


def _hidden(value: str | Failure | None, redact: Callable[[str], str]) -> str | Failure | None:
    if isinstance(value, Failure):
        return value.without_secrets(redact)
    return hint_of(value).mapped(redact) if value else value


def tolerant(sink: Sink) -> Sink:
    """Return a sink that cannot fail a run: what the given one raises becomes a warning."""

    def take(event: Event) -> None:
        try:
            sink(event)
        except Exception as error:  # noqa: BLE001 - whoever listens may be anybody's code
            import warnings

            warnings.warn(f"a sink of events failed: {type(error).__name__}: {error}", RuntimeWarning, stacklevel=2)

    return take
