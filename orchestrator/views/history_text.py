"""The revisions of a database, oldest first: as data and as a table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.model import History, Revision
from orchestrator.views.table import table

_EARLY = datetime.min.replace(tzinfo=UTC)


def history_document(history: History) -> dict[str, Any]:
    """Return the history as plain data."""
    pointer = {"version": history.pointer.version, "dirty": history.pointer.dirty} if history.pointer else None
    revisions = []
    for revision in _in_time(history):
        entry = revision._asdict() | {"direction": revision.direction.value, "origin": revision.origin.value}
        for key in ("started_at", "finished_at"):
            entry[key] = entry[key].isoformat() if entry[key] else None
        revisions.append(entry | {"result": _result(revision)})
    return {"pointer": pointer, "revisions": revisions}


def history_text(history: History) -> str:
    """Return a table; errors and reasons stand below their row."""
    if not history.revisions:
        return "No history: orch has not migrated this database yet."
    rows = []
    for revision in _in_time(history):
        when = f"{revision.started_at:%Y-%m-%d %H:%M:%S}" if revision.started_at else "-"
        seconds = "-" if revision.seconds is None else f"{revision.seconds:.2f} s"
        rows.append(
            (
                when,
                str(revision.version),
                revision.name,
                revision.direction.value,
                _result(revision),
                seconds,
                revision.actor or "-",
                _remark(revision),
            )
        )
    return table(("WHEN", "VERSION", "NAME", "WAY", "RESULT", "TIME", "BY", "REMARK"), rows)


def _in_time(history: History) -> list[Revision]:
    return sorted(history.revisions, key=lambda r: (r.started_at or _EARLY, r.version, r.attempt))


def _result(revision: Revision) -> str:
    if revision.done:
        return revision.origin.value if revision.direction.value == "up" else f"{revision.origin.value} (taken back)"
    if revision.applied or revision.in_flight:
        return f"stopped at {revision.applied} of {revision.total}"
    return "failed"


def _remark(revision: Revision) -> str:
    return " ".join((revision.error or revision.reason).split())
