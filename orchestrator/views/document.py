"""Events as JSON: line by line as they come, or one document at the end."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from orchestrator import events
from orchestrator.events import Event

FORMAT = 1
# What JSON allows in a string, and terminals and GitHub's runner (`##[`) obey.
_OBEYED = re.compile("[\x7f-\x9f\ud800-\udfff]|(?<=##)\\[")


def json_text(document: Any, *, indent: int | None = None) -> str:
    """Return a document as JSON that nobody obeys who only shows it."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _as_json(value: Any) -> Any:
    """Return plain data for an event or a part of one."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, events.Failure):
        return value.document()
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    return value


class JsonLinesView:
    """Writes the event stream as JSON lines; the first names the format."""

    def __init__(self, write: Callable[[str], None], tool: str) -> None:
        self._write = write
        self._mutex = threading.RLock()  # a signal may interrupt the thread that holds it, and be told too
        self._over = False
        self._put({"event": "Stream", "format": FORMAT, "tool": tool})

    def __call__(self, event: Event) -> None:
        """Take one event; may be called from any thread."""
        with self._mutex:
            if self._over:  # interrupted: what still ran when the end was told
                return
            self._over = isinstance(event, events.RunFinished)
            self._put({"event": type(event).__name__, "at": datetime.now(UTC).isoformat(), **_as_json(event._asdict())})

    def _put(self, document: dict[str, Any]) -> None:
        self._write(json_text(document))


class DocumentView:
    """Gathers one JSON document, complete also when the run failed half way."""

    def __init__(self) -> None:
        self._databases: dict[str, dict[str, Any]] = {}
        self._run: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        """Take one event; may be called from any thread (each touches its own database only)."""
        match event:
            case events.RunFinished():
                self._run = {
                    "run_id": event.run_id,
                    "seconds": round(event.seconds, 3),
                    "exit_code": event.exit_code,
                }
            case events.DatabaseCreated(id):
                self._of(id)["created"] = not event.by_other
            case events.Adopted(id, versions, direction):
                self._of(id)["adopted" if direction.value == "up" else "taken_back"] = list(versions)
            case events.StepFinished(id, version, name, direction, seconds):
                self._of(id)["steps"].append(
                    {"version": version, "name": name, "direction": direction.value, "seconds": round(seconds, 3)}
                )
            case events.DatabaseFinished(id, version, _, seconds):
                self._of(id).update(result="done", version=version, seconds=round(seconds, 3))
            case events.DatabaseFailed(id, failure):
                self._of(id).update(result="failed", error=_as_json(failure))
            case events.DatabaseBlocked(id, by):
                self._of(id).update(result="blocked", blocked_by=list(by))
            case events.DatabaseSkipped(id):
                self._of(id).update(result="skipped")
            case events.DatabaseStarted(id):
                self._of(id)
            case _:
                pass

    def document(self) -> dict[str, Any]:
        """Return what was gathered."""
        return {"format": FORMAT, **self._run, "databases": list(self._databases.values())}

    def _of(self, id: str) -> dict[str, Any]:
        blank = {"id": id, "result": "running", "created": False, "steps": []}
        return self._databases.setdefault(id, blank)
