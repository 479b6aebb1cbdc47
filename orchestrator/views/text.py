"""A plan and a result as text for people."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator import events
from orchestrator.events import Event
from orchestrator.hints import Hint
from orchestrator.phrases import some
from orchestrator.planning.plan import DatabasePlan, Plan
from orchestrator.views.table import Painted, counted, lines_of, table

if TYPE_CHECKING:
    from orchestrator.analysis.risks import Risk

MANY, SLOWEST = 50, 3
"""After a run of so many databases, so many that took the longest are named."""
FOLDED = 10
"""This many databases with the same text are shown as one entry."""


def plan_text(plan: Plan, risks: Mapping[str, Sequence[Risk]]) -> Hint:
    """Return the plan as text, database by database in the order of the run; many with the same work are one entry.

    The reason why a database cannot be planned is not part of it: it is reported as an error.
    """
    shown = [
        planned for planned in plan.databases if planned.failure is None and (planned.has_changes or planned.notes)
    ]
    work = {planned.id: tuple(_lines(planned, risks.get(planned.id, ()))) for planned in shown}
    kinds = {planned.id: _without_name(planned, work[planned.id]) for planned in shown}
    alike: dict[tuple[str, ...], list[DatabasePlan]] = {}
    for planned in shown:
        alike.setdefault(kinds[planned.id], []).append(planned)
    lines: list[str] = []
    for planned in shown:
        kind = kinds[planned.id]
        others = alike[kind]
        if len(others) < FOLDED:
            lines.append(Hint(Painted(planned.id, "bold"), f"  ({planned.place})"))
            lines += map(_coloured, work[planned.id])
        elif planned is others[0]:
            places = list(dict.fromkeys(other.endpoint for other in others))
            names = Painted(f"{len(others):,} databases: {some([other.id for other in others])}", "bold")
            lines.append(Hint(names, f"  ({some(places)})"))
            lines += map(_coloured, kind)
    if failing := [planned.id for planned in plan.databases if planned.failure]:
        lines.append(f"cannot be planned: {some(failing)}")
    return lines_of([*lines, _sentence(plan, sum(map(len, risks.values())))])


_COLOURS = {"+": "green", "-": "red", "!": "yellow"}


def _coloured(line: str) -> str:
    """Return a line of a plan, indented, in the colour of its sign."""
    colour = _COLOURS.get(line.lstrip()[:1])
    return Painted(f"    {line}", colour) if colour else f"    {line}"


def plan_document(
    plan: Plan, checks: Sequence[Mapping[str, Any]] | None = None, not_known: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what `orch plan --output json` shows: the plan, the answers to its checks if they were asked, and which members
    of fleets are not known yet."""
    asked = {} if checks is None else {"checks": list(checks)}
    return plan.document() | asked | ({"not_known": list(not_known)} if not_known else {})


def _sentence(plan: Plan, dangers: int) -> str:
    unchanged = sum(not planned.has_changes and not planned.failure for planned in plan.databases)
    steps = sum(len(planned.steps) for planned in plan.databases)
    create = sum(planned.create for planned in plan.databases)
    failed = len(plan.failures)
    parts = [f"{create:,} to create"] if create else []
    parts.append(f"{counted(steps, 'migration')} to {'run' if plan.direction.value == 'up' else 'roll back'}")
    parts.append(f"{unchanged:,} {'up to date' if plan.direction.value == 'up' else 'unchanged'}")
    if failed:
        parts.append(f"{failed:,} with problems")
    if dangers:
        parts.append(f"{counted(dangers, 'risky statement')} (!)")
    return "Plan: " + ", ".join(parts) + "."


def _lines(planned: DatabasePlan, risks: Sequence[Risk]) -> Iterable[str]:
    if planned.create:
        yield "+ create the database"
    for name in planned.extensions:
        yield f"+ create extension {name}"
    if planned.adopt:
        yield f"= adopt {_versions(planned.adopt)}, applied by golang-migrate"
    if planned.forget:
        yield f"= record that golang-migrate rolled back {_versions(planned.forget)}"
    if planned.version_row_stale:
        yield "= restore the missing version table"
    for step in planned.steps:
        sign = "+" if step.direction.value == "up" else "-"
        how = "" if step.atomic else f"  [{counted(step.statements, 'statement')}, not transactional]"
        if not step.path:
            how = f"  [no {step.direction.value} file: only the history changes]"
        again = f"  continues at statement {step.first + 1} of {step.statements}" if step.first else ""
        late = "  [out of order: later versions are already applied]" if step.late else ""
        yield f"{sign} {step.version} {step.name}{how}{again}{late}"
        for risk in risks:
            if risk.where.path == step.path:
                yield f"  ! {risk.what}: {risk.where}"
                if risk.loses_data:
                    yield f"      {risk.statement}"
    for note in planned.notes:
        yield f"note: {note}"


def _without_name(planned: DatabasePlan, lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return lines with {database} in place of the database's own name, so that equal plans compare equal."""
    own = planned.id.removeprefix(f"{planned.engine}-").lower()
    name = re.sub(r"[^0-9a-z]+", "_", own).strip("_")
    if not name or not any(name in line for line in lines):  # of most: a pattern for each of many databases takes long
        return lines
    pattern = re.compile(rf"(?<![0-9a-z]){re.escape(name)}(?![0-9a-z])")
    return tuple(pattern.sub("{database}", line) for line in lines)


def _versions(versions: Sequence[int]) -> str:
    return ", ".join(map(str, versions))


_RANK = {"done": 0, "not": 1, "blocked": 2, "failed": 3}


class OutcomeTable:
    """Collect the result of every database for a table: version, migrations and time."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[str, str, str, float]] = {}
        self._steps: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        """Take one event; may be called from any thread (each touches its own database only)."""
        match event:
            case events.StepFinished(id):
                self._steps[id] += 1
            case events.DatabaseFinished(id, version, applied, seconds):
                self._rows[id] = ("done", _version(version), str(applied), seconds)
            case events.DatabaseFailed(id):
                self._rows[id] = ("failed", "", str(self._steps[id] or ""), 0.0)
            case events.DatabaseBlocked(id, by):
                self._rows[id] = (f"blocked by {some(by)}", "", "", 0.0)
            case events.DatabaseSkipped(id, why):
                self._rows[id] = (f"not done: {why or 'the run was stopped'}", "", str(self._steps[id] or ""), 0.0)
            case _:
                pass

    def text(self, plan: Plan) -> str:
        """Return the table in the order of the plan, with equal rows merged and problems last.

        Return '' if every database failed: failures are reported as errors.
        """
        if all(row[0] == "failed" for row in self._rows.values()):
            return ""
        alike: dict[tuple[str, ...], list[str]] = {}
        for planned in plan.databases:
            if planned.id in self._rows:
                alike.setdefault(self._rows[planned.id][:3], []).append(planned.id)
        groups: list[tuple[tuple[str, ...], list[str]]] = []
        for kind, ids in alike.items():
            groups += [(kind, ids)] if len(ids) >= FOLDED else [(kind, [id]) for id in ids]
        order = {planned.id: number for number, planned in enumerate(plan.databases)}
        groups.sort(key=lambda group: (_RANK[group[0][0].split()[0]], order[group[1][0]]))
        rows = [
            (some(ids, 1), Painted(kind[0], "green" if kind[0] == "done" else "red"), *kind[1:], self._time(ids))
            for kind, ids in groups
        ]
        shown = table(("DATABASE", "RESULT", "VERSION", "MIGRATIONS", "TIME"), rows)
        slowest = self._slowest() if len(self._rows) >= MANY else ""
        return lines_of([shown, slowest]) if slowest else shown

    def _slowest(self) -> str:
        """Return the databases that took the longest, in a sentence; '' if nothing was measured."""
        slow = [id for id in sorted(self._rows, key=lambda id: -self._rows[id][3])[:SLOWEST] if self._rows[id][3]]
        return "Slowest: " + ", ".join(f"{id} {self._rows[id][3]:.2f} s" for id in slow) + "." if slow else ""

    def _time(self, ids: Sequence[str]) -> str:
        longest = max(self._rows[id][3] for id in ids)
        return "" if not longest else f"{longest:.2f} s" if len(ids) == 1 else f"up to {longest:.2f} s"


def _version(version: int | None) -> str:
    return "-" if version is None else str(version)
