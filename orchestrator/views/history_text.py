"""The attempts of a database, oldest first, as data and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.hints import Command, Hint
from orchestrator.model import Attempt, History
from orchestrator.views.formats import Exact
from orchestrator.views.table import TOGETHER, Painted, table

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
    "role",
    "host",
    "run_id",
    "tool",
    "error",
    "reason",
)


def histories_document(
    histories: Mapping[str, History], *, whole: bool, narrowed: bool, limit: int = 0
) -> dict[str, Any]:
    """Return what `orch history --output json` shows; `whole`: of several databases, not of one that was named."""
    del narrowed, limit  # all there is
    if whole:
        return _attempts_document(histories)
    id, history = next(iter(histories.items()))
    return {"format": 1, "id": id, **_history_document(history)}


def _history_document(history: History) -> dict[str, Any]:
    """Return the history of one database as plain data."""
    version_row = (
        {"version": history.version_row.version, "dirty": history.version_row.dirty} if history.version_row else None
    )
    return {"version_table": version_row, "attempts": [_entry(attempt) for _, attempt in _in_time({"": history})]}


def _attempts_document(histories: Mapping[str, History]) -> dict[str, Any]:
    """Return the attempts of several databases as plain data, the oldest first."""
    return {"format": 1, "attempts": [{"id": id, **_entry(attempt)} for id, attempt in _in_time(histories)]}


def attempts_csv(histories: Mapping[str, History], *, whole: bool, narrowed: bool, limit: int = 0) -> Exact:
    """Return the attempts as CSV with a line of names. A text that a spreadsheet would run is quoted with an apostrophe."""
    del whole, narrowed, limit  # the columns are always the same, and the rows all there are
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for id, attempt in _in_time(histories):
        entry = {"id": id, **_entry(attempt)}
        texts = ("" if entry[name] is None else str(entry[name]) for name in _COLUMNS)
        writer.writerow([f"'{text}" if text[:1] in tuple("=+-@\t") else text for text in texts])
    return Exact(written.getvalue())


def _entry(attempt: Attempt) -> dict[str, Any]:
    entry = attempt._asdict() | {"direction": attempt.direction.value, "origin": attempt.origin.value}
    del entry["texts"]  # they are not read with the history
    for key in ("started_at", "finished_at"):
        entry[key] = entry[key].astimezone(UTC).isoformat() if entry[key] else None
    return {"version": entry.pop("version"), "attempt": entry.pop("number"), **entry, "result": result_of(attempt)}


def history_text(histories: Mapping[str, History], *, whole: bool, narrowed: bool, limit: int = 0) -> str:
    """Return a table, the oldest attempt first. `whole`: the table has a column for the database.

    Of more than `limit` attempts, the newest are shown; 0 means all.
    """
    rows = []
    attempts = _in_time(histories)
    left_out = max(0, len(attempts) - limit) if limit else 0
    for id, attempt in attempts[left_out:]:
        when = f"{attempt.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if attempt.started_at else "-"
        seconds = "" if attempt.seconds is None else f"{attempt.seconds:.2f}{TOGETHER}s"
        result = result_of(attempt)
        if attempt.direction.value == "down" and not attempt.done:
            result = f"{result} (rolling back)"
        rows.append(
            (
                when,
                *([id] if whole else []),
                f"{attempt.version} {attempt.name}".rstrip(),
                Painted(result, "green" if attempt.done else "red"),
                seconds,
                _who(attempt),
                _remark(attempt),
            )
        )
    if not rows:
        if not histories:
            return "No history could be read."
        if narrowed:
            return "No attempt matches."
        return "No history: orch has not migrated " + ("these databases yet." if whole else "this database yet.")
    database = ["DATABASE"] if whole else []
    shown = table(("WHEN", *database, "MIGRATION", "RESULT", "TIME", "BY", "NOTE"), rows)
    return Hint(shown, f"\n\n{left_out:,} older: ", Command("history", "--limit", 0)) if left_out else shown


def _in_time(histories: Mapping[str, History]) -> list[tuple[str, Attempt]]:
    """Return all attempts in the order of their times. Those of one version keep the order of their numbers.

    A server's clock may have been set back between two of them: the later one then counts as no earlier than the first.
    """
    found: list[tuple[datetime, str, int, int, Attempt]] = []
    for id, history in histories.items():
        latest: dict[int, datetime] = {}
        for attempt in sorted(history.attempts, key=lambda one: one.number):
            at = max(attempt.started_at or _EARLY, latest.get(attempt.version, _EARLY))
            latest[attempt.version] = at
            found.append((at, id, attempt.version, attempt.number, attempt))
    return [(id, attempt) for _, id, _, _, attempt in sorted(found, key=lambda one: one[:4])]


def _who(attempt: Attempt) -> str:
    """Return the actor with the login on the server, and with the host unless the actor names it."""
    where = f" on {attempt.host}" if attempt.host and attempt.host not in attempt.actor else ""
    role = f" as {attempt.role}" if attempt.role else ""
    return f"{attempt.actor}{where}{role}".strip() or "-"


def result_of(attempt: Attempt) -> str:
    """Return in a few words how an attempt ended."""
    if attempt.done:
        return attempt.origin.value if attempt.direction.value == "up" else f"{attempt.origin.value} (rolled back)"
    if attempt.applied or attempt.in_flight:
        return f"stopped at {attempt.applied} of {attempt.total}"
    return "failed"


def _remark(attempt: Attempt) -> str:
    return " ".join((attempt.error or attempt.reason).split())
