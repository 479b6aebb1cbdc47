"""Events as JSON: line by line as they come, or one document at the end."""

from __future__ import annotations

import json
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from orchestrator import events
from orchestrator.events import Event
from orchestrator.patterns import regex

FORMAT = 1
# What JSON allows in a string, and terminals and GitHub's runner (`##[`) obey.
_OBEYED = regex("[\x7f-\x9f\ud800-\udfff]|(?<=##)\\[")
_ENCODER = json.JSONEncoder(ensure_ascii=False)


def json_text(document: Any, *, indent: int | None = None) -> str:
    """Return a document as JSON that nobody obeys who only shows it."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    return _OBEYED.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def json_pieces(document: Any) -> Iterator[str]:
    """Yield a document as indented JSON, piece by piece; together they are what `json_text` with an indent of 2 returns.

    A value of the document that is an iterator is a list of which only one item at a time is in memory.
    """
    if not isinstance(document, dict) or not document:
        yield json_text(document, indent=2) + "\n"
        return
    before = "{\n  "
    for key, value in document.items():
        head, before = f"{before}{json_text(key)}: ", ",\n  "
        if not isinstance(value, Iterator):
            yield head + _indented(value, "\n  ")
            continue
        between = head + "[\n    "
        for item in value:
            yield between + _indented(item, "\n    ")
            between = ",\n    "
        yield "\n  ]" if between == ",\n    " else head + "[]"
    yield "\n}\n"


def _indented(value: Any, line: str) -> str:
    """Return a value as JSON text whose lines begin with `line`."""
    return _OBEYED.sub(_written_out, "".join(_parts(value, line)))


def _parts(value: Any, line: str) -> Iterator[str]:
    # json's own writer of indented text leaves reference cycles at each call, which orch lets lie until late.
    if not value or not isinstance(value, (dict, list, tuple)):
        yield _ENCODER.encode(value)
        return
    inner = f"{line}  "
    first, last = "{}" if isinstance(value, dict) else "[]"
    keyed = isinstance(value, dict)
    for number, one in enumerate(value):
        yield f"{',' if number else first}{inner}"
        if keyed:
            yield f"{_ENCODER.encode(str(one))}: "
        yield from _parts(value[one] if keyed else one, inner)
    yield f"{line}{last}"


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
    """Gathers one JSON document, complete also when the run failed half way.

    A database that has come to its end is kept as packed text: with fifty migrations in each of ten thousand databases,
    these would otherwise take more memory than all the rest of the run.
    """

    def __init__(self) -> None:
        self._databases: dict[str, dict[str, Any] | bytes] = {}
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
                self._end(id, result="done", version=version, seconds=round(seconds, 3))
            case events.DatabaseFailed(id, failure):
                self._end(id, result="failed", error=_as_json(failure))
            case events.DatabaseBlocked(id, by):
                self._end(id, result="blocked", blocked_by=list(by))
            case events.DatabaseSkipped(id, why):
                self._end(id, result="skipped", **({"why": why} if why else {}))
            case events.DatabaseStarted(id):
                self._of(id)
            case _:
                pass

    def document(self) -> dict[str, Any]:
        """Return what was gathered, its databases as an iterator that makes them one by one."""
        return {"format": FORMAT, **self._run, "databases": map(_unpacked, self._databases.values())}

    def _of(self, id: str) -> dict[str, Any]:
        blank = {"id": id, "result": "running", "created": False, "steps": []}
        entry = self._databases[id] = _unpacked(self._databases.get(id, blank))
        return entry

    def _end(self, id: str, **result: Any) -> None:
        self._databases[id] = zlib.compress(json.dumps(self._of(id) | result).encode(), 1)


def _unpacked(entry: dict[str, Any] | bytes) -> dict[str, Any]:
    return json.loads(zlib.decompress(entry)) if isinstance(entry, bytes) else entry
