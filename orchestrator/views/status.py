"""The status of databases, as data for machines and as text for people."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC
from typing import Any

from orchestrator.hints import Hint, joined
from orchestrator.planning.status import DatabaseStatus, Status, StatusProblem
from orchestrator.views.table import table

_EXISTS = {None: "?", True: "yes", False: "no"}


def status_document(status: Status) -> dict[str, Any]:
    """Return what `orch status --output json` shows."""
    return {"format": 1, "databases": [_entry(one) for one in status.databases]}


def _entry(one: DatabaseStatus) -> dict[str, Any]:
    since = one.running_since.astimezone(UTC).isoformat() if one.running_since else None
    return {
        "id": one.id,
        "engine": one.engine,
        "name": one.name,
        "endpoint": one.endpoint,
        "database": one.database,
        "running": {"by": one.running.description, "since": since} if one.running else None,
        "exists": one.exists,
        "version": one.version,
        "dirty": one.dirty,
        "applied": list(one.applied),
        "pending": list(one.pending),
        "problems": [_problem(problem) for problem in one.problems],
        "notes": list(one.notes),
        **({"external": [asdict(other) for other in one.external]} if one.external else {}),
    }


def _problem(problem: StatusProblem) -> dict[str, Any]:
    return {
        "kind": problem.kind,
        "version": problem.version,
        "what": problem.what,
        "hint": problem.hint,
        "blocks": [direction.value for direction in problem.blocks],
    }


def status_text(status: Status) -> Hint:
    """Return a table, each problem with its hint, and the number of databases in each state."""
    rows = [
        (
            one.id,
            f"{one.endpoint}/{one.database}",
            _EXISTS[one.exists],
            "-" if one.version is None else f"{one.version}{' (dirty)' * bool(one.dirty)}",
            str(len(one.applied)),
            str(len(one.pending)),
            one.state,
        )
        for one in status.databases
    ]
    lines = [table(("DATABASE", "PLACE", "EXISTS", "VERSION", "APPLIED", "PENDING", "STATE"), rows)]
    for one in status.databases:
        if one.failure:
            continue  # the reason is reported as an error
        for problem in one.problems:
            lines.append(f"\n{one.id}: {problem.what}")
            if problem.hint:
                lines.append(Hint("  ", problem.hint))
        lines.extend(Hint(f"\n{one.id}: ", note) for note in one.notes)
    lines.append("\n" + ", ".join(f"{count} {what}" for what, count in status.counts if count) + ".")
    return joined("\n", lines)
