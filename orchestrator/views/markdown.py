"""A plan and a run in Markdown: for the summary of a GitHub job, or a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from orchestrator.analysis.risks import Risk
from orchestrator.errors import ExitCode
from orchestrator.events import Failure
from orchestrator.phrases import some
from orchestrator.planning.plan import DatabasePlan, Plan
from orchestrator.secret import bounded
from orchestrator.views.failures import alike
from orchestrator.views.graph_text import mermaid
from orchestrator.views.table import counted

MAX_SUMMARY = 900_000
"""Bytes; GitHub drops a summary above 1 MiB whole."""
MAX_ROWS = 500
_MAX_ERROR = 4_000
_MAX_NAMES = 100  # of databases with the same error
MAX_NODES = 40  # of more, those at rest are left out
_MAX_EDGES = 400  # Mermaid draws no more than 500
_MAX_GRAPH = 40_000  # and no text longer than 50,000
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$!&@])")
_FOLDED = 10
"""So many databases with the same work, or the same result, are one row."""
_Kind = TypeVar("_Kind")
_Row = TypeVar("_Row")
_ICONS = {"done": "✅", "failed": "❌", "blocked": "⛔", "skipped": "⏭️", "running": "⏳"}


def plan_markdown(plan: Plan, risks: Mapping[str, Sequence[Risk]], room: int = MAX_SUMMARY) -> str:
    """Return what would run and where, what to look at first on top."""
    changing = [planned for planned in plan.databases if planned.has_changes]
    lines = ["## Databases: plan", "", _sentence(plan), ""]
    lines += _problems(plan)
    if any(risks.values()):
        lines += ["### Look at these first", ""]
        shares: dict[tuple[str, str, str], list[tuple[str, Risk]]] = {}
        for id, found in risks.items():
            for risk in found:
                shares.setdefault((str(risk.where), risk.what, risk.statement), []).append((id, risk))
        dangers = [_risk(ids, risk) for ids, risk in (_of_all(ones) for ones in shares.values())]
        lines += [*dangers[:MAX_ROWS], *_more(dangers), ""]
    if changing:
        lines += ["| database | where | what will run |", "|---|---|---|"]
        rows = [
            f"| {_names([p.id for p in ones])} | {_places(ones)} | {what} |"
            for what, ones in _folded((_what_runs(p), p) for p in changing)
        ]
        lines += [*rows[:MAX_ROWS], *_more(rows), ""]
    return _fitting(lines, graph(plan, {}), room)


def run_markdown(
    plan: Plan | None,
    document: Mapping[str, Any],
    refused: Sequence[Mapping[str, str]],
    room: int = MAX_SUMMARY,
) -> str:
    """Return what a run did, errors first; `document` is what `--output json` prints."""
    entries = {entry["id"]: entry for entry in document["databases"]}
    done = sum(len(entry["steps"]) for entry in entries.values())
    failed = [(id, Failure.read(entry["error"])) for id, entry in entries.items() if entry["result"] == "failed"]
    blocked = any(entry["result"] == "blocked" for entry in entries.values())
    code = document.get("exit_code")  # none of a run that has not ended
    paused = code == ExitCode.NOT_YET and not (failed or refused or blocked)
    icon = "⏸️" if paused else "❌" if failed or refused or code else "✅"
    lines = [
        f"## {icon} Databases",
        "",
        f"{counted(done, 'migration')} run, {counted(len(failed), 'database')} failed.",
        "",
    ]
    for ids, failure in alike(failed)[:MAX_ROWS]:
        lines += _error(some(ids, _MAX_NAMES), failure.document())
    for error in refused[:MAX_ROWS]:
        lines += _error("orch", error)
    if entries:
        lines += ["| | database | version | migrations | seconds |", "|---|---|---|---|---|"]
        rows = []
        for kind, ones in _folded((_facts(entry), entry) for entry in entries.values()):
            seconds = max(entry.get("seconds", 0) for entry in ones)
            took = f"{'up to ' if len(ones) > 1 else ''}{seconds:.2f}"
            rows.append(f"| {kind[0]} | {_names([one['id'] for one in ones])} | {kind[1]} | {kind[2]} | {took} |")
        lines += [*rows[:MAX_ROWS], *_more(rows), ""]
    results = {id: entry["result"] for id, entry in entries.items()}
    return _fitting(lines, graph(plan, results) if plan else [], room)


def _facts(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    version = entry.get("version")
    return _ICONS[entry["result"]], "" if version is None else str(version), str(len(entry["steps"]))


def _folded(pairs: Iterable[tuple[_Kind, _Row]]) -> list[tuple[_Kind, list[_Row]]]:
    """Return the rows of a table, in their order; many of one kind are one row."""
    found: dict[_Kind, list[_Row]] = {}
    for kind, row in pairs:
        found.setdefault(kind, []).append(row)
    rows: list[tuple[_Kind, list[_Row]]] = []
    for kind, ones in found.items():
        rows += [(kind, ones)] if len(ones) >= _FOLDED else [(kind, [one]) for one in ones]
    return rows


def _names(ids: Sequence[str]) -> str:
    return text(some(ids)) if len(ids) == 1 else f"{len(ids):,} databases: {text(some(ids))}"


def _places(planned: Sequence[DatabasePlan]) -> str:
    places = [one.place if len(planned) == 1 else one.endpoint for one in planned]
    return text(some(list(dict.fromkeys(places))))


def _of_all(ones: Sequence[tuple[str, Risk]]) -> tuple[list[str], Risk]:
    return [id for id, _ in ones], ones[0][1]


def graph(plan: Plan, results: Mapping[str, str]) -> list[str]:
    """Return the dependency graph, coloured by what became of each; nothing if it is too large to be drawn.

    Of a large estate only what changes, and what that depends on or is needed by, is drawn.
    """
    dependencies = {planned.id: planned.depends_on for planned in plan.databases}
    if len(dependencies) > MAX_NODES:
        dependencies = _around({p.id for p in plan.databases if p.has_changes or p.failure}, dependencies)
    edges = sum(map(len, dependencies.values()))
    drawn = mermaid(dependencies)
    if not edges or edges > _MAX_EDGES or len(drawn) > _MAX_GRAPH:
        return []
    colours = {"done": "#2da44e", "failed": "#cf222e", "blocked": "#bf8700"}
    for result, colour in colours.items():
        nodes = [f"n{number}" for number, id in enumerate(dependencies) if results.get(id) == result]
        if nodes:
            drawn += f"\n    classDef {result} stroke:{colour},stroke-width:3px\n    class {','.join(nodes)} {result}"
    return ["```mermaid", drawn, "```", ""]


def _around(ids: Container[str], dependencies: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the part of a graph that these are in, with their neighbours."""
    edges = {(id, need) for id, needs in dependencies.items() for need in needs if id in ids or need in ids}
    near = {id for edge in edges for id in edge}
    return {
        id: tuple(need for need in needs if (id, need) in edges)
        for id, needs in dependencies.items()
        if id in ids or id in near
    }


def text(value: str) -> str:
    """Return a value so that Markdown shows it as it is, on one line, also in a table."""
    return _SPECIAL.sub(r"\\\1", " ".join(value.split()))


def _sentence(plan: Plan) -> str:
    create = sum(planned.create for planned in plan.databases)
    steps = sum(len(planned.steps) for planned in plan.databases)
    unchanged = sum(not planned.has_changes and not planned.failure for planned in plan.databases)
    return f"**{counted(steps, 'migration')}** to run, {counted(create, 'database')} to create, {unchanged} up to date."


def _problems(plan: Plan) -> list[str]:
    failing = alike((planned.id, planned.failure) for planned in plan.databases if planned.failure)
    lines = [line for ids, failure in failing[:MAX_ROWS] for line in _error(some(ids), failure.document())]
    return lines + _more(failing)


def _risk(ids: Sequence[str], risk: Risk) -> str:
    line = f"- ⚠️ {_names(ids)}: {text(str(risk.where))} {text(risk.what)}"
    return f"{line}<br>{text(risk.statement)}" if risk.loses_data else line


def _what_runs(planned: DatabasePlan) -> str:
    parts = ["create the database"] if planned.create else []
    parts += [f"create extension {text(name)}" for name in planned.extensions]
    if planned.adopt or planned.forget:
        parts.append("follow golang-migrate")
    for step in planned.steps[:50]:
        how = "" if step.atomic else " (not transactional)"
        how += " (out of order)" if step.late else ""
        parts.append(f"{'' if step.direction.value == 'up' else 'down '}{step.version} {text(step.name)}{how}")
    if len(planned.steps) > 50:
        parts.append(f"and {len(planned.steps) - 50} more")
    return "<br>".join(parts)


def _error(id: str, error: Mapping[str, str]) -> list[str]:
    place = f" {text(error['where'])}" if error["where"] else ""
    body = bounded("\n".join(filter(None, [error["what"], error["detail"]])), _MAX_ERROR)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    lines = [f"### ❌ {text(id)}{place}", "", f"{fence}text", body, fence]
    return [*lines, *([f"Hint: {text(error['hint'])}"] if error["hint"] else []), ""]


def _more(rows: Sequence[object]) -> list[str]:
    return [f"and {len(rows) - MAX_ROWS} more"] if len(rows) > MAX_ROWS else []


def _fitting(lines: Sequence[str], ending: Sequence[str], left: int) -> str:
    """Return the lines that fit into so many bytes, and the graph if it does too."""
    kept: list[str] = []
    for line in lines:
        left -= len(line.encode()) + 1
        if left < 0:
            return "\n".join([*kept, "", "The rest does not fit and was left out.", ""])
        kept.append(line)
    if len("\n".join(ending).encode()) <= left:
        kept += ending
    return "\n".join(kept) + "\n"
