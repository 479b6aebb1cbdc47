"""A plan, a status and an outcome as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.events import DatabaseFinished, Event
from orchestrator.plan import DatabasePlan, Plan
from orchestrator.views.table import table


def plan_text(plan: Plan) -> str:
    """Return what would happen, database by database in the order of the run."""
    lines = []
    for planned in plan.databases:
        if planned.failure:
            lines.append(f"{planned.id}: cannot be planned: {planned.failure.what}")
            if planned.failure.hint:
                lines.append(f"    hint: {planned.failure.hint}")
        elif planned.has_changes or planned.notes:
            lines.append(f"{planned.id}  ({planned.endpoint})")
            lines.extend(f"    {text}" for text in _changes(planned))
        lines.extend(f"    note: {note}" for note in planned.notes)
    unchanged = sum(not planned.has_changes and not planned.failure for planned in plan.databases)
    steps = sum(len(planned.steps) for planned in plan.databases)
    create = sum(planned.create for planned in plan.databases)
    failed = len(plan.failures)
    parts = [f"{create} to create"] if create else []
    parts.append(f"{steps} migration(s) to {'run' if plan.direction.value == 'up' else 'roll back'}")
    parts.append(f"{unchanged} up to date" if plan.direction.value == "up" else f"{unchanged} unchanged")
    if failed:
        parts.append(f"{failed} with problems")
    lines.append("Plan: " + ", ".join(parts) + ".")
    return "\n".join(lines)


def _changes(planned: DatabasePlan) -> Iterable[str]:
    if planned.create:
        yield "+ create the database"
    for name in planned.extensions:
        yield f"+ create extension {name}"
    if planned.adopt:
        yield f"= adopt {_versions(planned.adopt)}, applied by golang-migrate"
    if planned.forget:
        yield f"= note that golang-migrate took back {_versions(planned.forget)}"
    if planned.pointer_stale:
        yield "= write schema_migrations again, which is missing"
    for step in planned.steps:
        sign = "+" if step.direction.value == "up" else "-"
        how = "" if step.atomic else f"  [{step.statements} statement(s), not one transaction]"
        if not step.path:
            how = "  [no down file: only the record]"
        again = f"  continues at statement {step.first + 1} of {step.statements}" if step.first else ""
        yield f"{sign} {step.version} {step.name}{how}{again}"


def _versions(versions: Sequence[int]) -> str:
    return ", ".join(map(str, versions))


class OutcomeTable:
    """Gathers the end of every database for a table: where it stands and how long it took."""

    def __init__(self) -> None:
        self._finished: dict[str, DatabaseFinished] = {}

    def __call__(self, event: Event) -> None:
        """Take one event; may be called from any thread."""
        if isinstance(event, DatabaseFinished):
            self._finished[event.database] = event

    def text(self, plan: Plan) -> str:
        """Return the table, in the order of the plan; '' if nothing was done."""
        rows = [
            (done.database, _version(done.version), str(done.applied), f"{done.seconds:.2f} s")
            for planned in plan.databases
            if (done := self._finished.get(planned.id))
        ]
        return table(("DATABASE", "VERSION", "MIGRATIONS", "TIME"), rows) if rows else ""


def _version(version: int | None) -> str:
    return "-" if version is None else str(version)
