"""The status of databases: as data for machines, as a table and sentences for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from orchestrator.engines import dialect
from orchestrator.errors import OrchError
from orchestrator.model import Attempt, Database, Migration
from orchestrator.planning.history import reconcile, unrecorded
from orchestrator.planning.plan import UNDERWAY, ReadScript, Survey, held_against_file, running
from orchestrator.views.table import table


def status_of(
    database: Database, migrations: Sequence[Migration], survey: Survey, read_script: ReadScript
) -> dict[str, Any]:
    """Return one database's entry of `orch status --output json`."""
    entry: dict[str, Any] = {"id": database.id, "engine": database.engine, "name": database.name}
    entry |= {"endpoint": survey.endpoint, "database": survey.name}
    if survey.failure:
        failure = survey.failure
        problem = {"kind": failure.kind, "what": failure.what, "hint": failure.hint, "blocks": ["up", "down"]}
        blank: dict[str, Any] = {"exists": None, "version": None, "dirty": None, "applied": [], "pending": []}
        blank["running"] = None
        return {**entry, **blank, "problems": [problem], "notes": []}
    history = survey.history
    state = reconcile(migrations, history, out_of_order=database.settings.out_of_order)
    state = held_against_file(state, database, migrations, read_script)
    # Left dirty by golang-migrate, before we knew of the database: then all there is to tell is what the version table says.
    version = state.version if state.applied or history.version_row is None else history.version_row.version
    active = survey.holder if survey.holder and survey.holder.running else None
    since = active.since.astimezone(UTC).isoformat() if active and active.since else None
    return {
        **entry,
        "running": {"by": active.description, "since": since} if active else None,
        "exists": history.exists,
        "version": version,
        "dirty": state.dirty,
        "applied": list(state.applied),
        "pending": list(state.pending),
        "problems": [
            {
                "kind": problem.kind.value,
                "version": problem.version,
                "what": problem.what,
                "hint": problem.hint_for(database.id),
                "blocks": [direction.value for direction in problem.blocks],
            }
            for problem in state.problems
            if not (active and problem.kind in UNDERWAY)
        ],
        "notes": [
            *([running(survey.holder)] if survey.holder else []),
            *unrecorded(history, state, database.id),
            *state.notes,
            *_golang_migrate(state.adopt, state.forget),
            *_failed_tries(survey.history.attempts, state.pending),
        ],
    }


def not_created(entry: dict[str, Any], refused: OrchError) -> dict[str, Any]:
    """Return the entry of a database that is missing and must not be created."""
    problem = {"kind": refused.kind, "version": None, "what": refused.what, "hint": refused.hint, "blocks": ["up"]}
    return {**entry, "problems": [problem, *entry["problems"]]}


def status_text(entries: Sequence[dict[str, Any]]) -> str:
    """Return the table, a sentence on every problem with the way out, and how many there are of each kind."""
    rows = [
        (
            entry["id"],
            f"{entry['endpoint']}/{entry['database']}",
            _existence(entry["exists"]),
            "-" if entry["version"] is None else f"{entry['version']}{' (dirty)' * bool(entry['dirty'])}",
            str(len(entry["applied"])),
            str(len(entry["pending"])),
            _state(entry),
        )
        for entry in entries
    ]
    lines = [table(("DATABASE", "PLACE", "EXISTS", "VERSION", "APPLIED", "PENDING", "STATE"), rows)]
    for entry in entries:
        if entry["exists"] is None:
            continue  # why it could not be looked at is told as an error
        for problem in entry["problems"]:
            lines.append(f"\n{entry['id']}: {problem['what']}")
            if problem["hint"]:
                lines.append(f"  {problem['hint']}")
        lines.extend(f"\n{entry['id']}: {note}" for note in entry["notes"])
    problems = sum(bool(entry["problems"]) for entry in entries)
    states = [_state(entry) for entry in entries]
    resting, active = states.count("up to date"), states.count("running")
    counts = {
        "up to date": resting,
        "running": active,
        "pending": len(entries) - resting - active - problems,
        "with problems": problems,
    }
    lines.append("\n" + ", ".join(f"{count} {what}" for what, count in counts.items() if count) + ".")
    return "\n".join(lines)


def _golang_migrate(adopt: Sequence[int], forget: Sequence[int]) -> list[str]:
    notes = []
    if adopt:
        notes.append(f"golang-migrate applied {', '.join(map(str, adopt))}; the next apply adopts that")
    if forget:
        notes.append(f"golang-migrate took back {', '.join(map(str, forget))}; the next apply notes that")
    return notes


def _failed_tries(attempts: Sequence[Attempt], pending: Sequence[int]) -> list[str]:
    """Return why a pending version is still pending, where the newest try of it failed without a trace."""
    newest = {r.version: r for r in sorted(attempts, key=lambda r: r.number)}
    return [
        f"the last try of version {version} failed{f' on {r.started_at:%Y-%m-%d %H:%M:%S}' if r.started_at else ''}: {r.error}"
        for version in pending
        if (r := newest.get(version)) and r.error and not (r.done or r.applied or r.in_flight)
    ]


def _existence(exists: bool | None) -> str:
    return "?" if exists is None else "yes" if exists else "no"


def _state(entry: dict[str, Any]) -> str:
    if entry["problems"]:
        return str(entry["problems"][0]["kind"]).replace("_", " ")
    if entry["running"]:
        return "running"
    if not entry["exists"] and (entry["pending"] or dialect(entry["engine"]).creates):
        return "to be created"
    return "pending" if entry["pending"] else "up to date"
