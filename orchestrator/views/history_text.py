"""The revisions of a database, oldest first: as data and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.model import History, Revision
from orchestrator.views.table import table

_EARLY = datetime.min.replace(tzinfo=UTC)
_COLUMNS = (
    "started_at",
    "finished_at",
    "id",
    "version",
    "attempt",
    "name",
    "direction",
    "result",
    "seconds",
    "actor",
    "run_id",
    "tool",
    "error",
    "reason",
)


def since(text: str) -> datetime:
    """Return the moment that `7d`, `12h`, `30m` or a date in UTC stands for; UsageError for anything else."""
    units = {"d": "days", "h": "hours", "m": "minutes"}
    try:
        if text[-1:] in units:
            return datetime.now(UTC) - timedelta(**{units[text[-1]]: float(text[:-1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UsageError(f"--since {text!r} is no age and no date", hint="7d, 12h, 30m or 2026-01-31") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def chosen(history: History, begin: datetime | None, *, failed: bool) -> History:
    """Return a history with the attempts since a moment, and of these only those that did not come to their end."""
    kept = (
        r for r in history.revisions if (begin is None or (r.started_at or _EARLY) >= begin) and not (failed and r.done)
    )
    return history._replace(revisions=tuple(kept))


def history_document(history: History) -> dict[str, Any]:
    """Return the history of one database as plain data."""
    pointer = {"version": history.pointer.version, "dirty": history.pointer.dirty} if history.pointer else None
    return {"pointer": pointer, "revisions": [_entry(revision) for _, revision in _in_time({"": history})]}


def estate_document(histories: Mapping[str, History]) -> dict[str, Any]:
    """Return the attempts of several databases as plain data, the oldest first."""
    return {"format": 1, "attempts": [{"id": id, **_entry(revision)} for id, revision in _in_time(histories)]}


def attempts_csv(histories: Mapping[str, History]) -> str:
    """Return the attempts as CSV with a line of names. A text that a spreadsheet would run is quoted with an apostrophe."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for id, revision in _in_time(histories):
        entry = {"id": id, **_entry(revision)}
        texts = ("" if entry[name] is None else str(entry[name]) for name in _COLUMNS)
        writer.writerow([f"'{text}" if text[:1] in tuple("=+-@\t") else text for text in texts])
    return written.getvalue()


def _entry(revision: Revision) -> dict[str, Any]:
    entry = revision._asdict() | {"direction": revision.direction.value, "origin": revision.origin.value}
    for key in ("started_at", "finished_at"):
        entry[key] = entry[key].astimezone(UTC).isoformat() if entry[key] else None
    return entry | {"result": _result(revision)}


def history_text(histories: Mapping[str, History], *, whole: bool, narrowed: bool) -> str:
    """Return a table, the oldest attempt first; `whole`: of several databases."""
    rows = []
    for id, revision in _in_time(histories):
        when = f"{revision.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if revision.started_at else "-"
        seconds = "-" if revision.seconds is None else f"{revision.seconds:.2f} s"
        rows.append(
            (
                when,
                *([id] if whole else []),
                str(revision.version),
                revision.name,
                revision.direction.value,
                _result(revision),
                seconds,
                revision.actor or "-",
                _remark(revision),
            )
        )
    if not rows:
        if narrowed:
            return "No such attempt."
        return "No history: orch has not migrated " + ("these databases yet." if whole else "this database yet.")
    database = ["DATABASE"] if whole else []
    return table(("WHEN", *database, "VERSION", "NAME", "DIRECTION", "RESULT", "TIME", "BY", "NOTE"), rows)


def _in_time(histories: Mapping[str, History]) -> list[tuple[str, Revision]]:
    found = [(id, revision) for id, history in histories.items() for revision in history.revisions]
    return sorted(found, key=lambda f: (f[1].started_at or _EARLY, f[0], f[1].version, f[1].attempt))


def _result(revision: Revision) -> str:
    if revision.done:
        return revision.origin.value if revision.direction.value == "up" else f"{revision.origin.value} (taken back)"
    if revision.applied or revision.in_flight:
        return f"stopped at {revision.applied} of {revision.total}"
    return "failed"


def _remark(revision: Revision) -> str:
    return " ".join((revision.error or revision.reason).split())
