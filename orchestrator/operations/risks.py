"""The risks of a plan, and what the `risks` of the manifest say of them: which are refused, of which a person is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.analysis.rules import BLOCKS_WRITES, BREAKS_READERS, LOSES_DATA
from orchestrator.errors import ConflictError, OrchError
from orchestrator.execution.run import Run
from orchestrator.hints import Command, Hint
from orchestrator.model import Direction, Script
from orchestrator.planning.plan import DatabasePlan, Plan

if TYPE_CHECKING:
    from orchestrator.analysis.risks import Risk
    from orchestrator.operations.plan import Planned

_DEFAULT = {LOSES_DATA: "ask", BLOCKS_WRITES: "allow", BREAKS_READERS: "allow"}
SHOWN = 20


def treated(planned: Planned, wanted: str) -> list[tuple[str, Risk, str]]:
    """Return database, risk and kind of all that the manifest wants to be treated so: `refuse`, `ask` or `allow`."""
    found = []
    for id, ones in planned.risks.items():
        policy = _DEFAULT | dict(planned.run.databases[id].risks)
        for risk in ones:
            kind = next((kind for kind in sorted(risk.kinds) if policy[kind] == wanted), "")
            found += [(id, risk, kind)] if kind else []
    return found


def refuse_again(down: Planned) -> None:
    """Raise ConflictError if the manifest refuses what the migrations of a rollback do when they are applied once more."""
    (database,) = down.plan.databases
    migrations = {one.version: one for one in down.run.catalogs[database.id]}
    ups = ((step, migrations[step.version].up) for step in reversed(database.steps) if step.version in migrations)
    steps = tuple(
        replace(step, direction=Direction.UP, path=up.path, checksum=up.checksum, first=0) for step, up in ups if up
    )
    again = replace(down.plan, direction=Direction.UP, databases=(replace(database, steps=steps),))
    refuse(replace(down, plan=again))


def refuse(planned: Planned) -> None:
    """Raise ConflictError if the manifest refuses one of the plan's risks; nothing has run yet. A rollback is not refused."""
    found = treated(planned, "refuse") if planned.plan.direction is Direction.UP else []
    if not found:
        return
    kinds = dict.fromkeys(kind for _, _, kind in found)
    lines = [f"{risk.where}: {risk.what}\n  {risk.statement}" for _, risk, _ in found[:SHOWN]]
    lines += [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    names = ", ".join(dict.fromkeys(id for id, _, _ in found))
    raise ConflictError(
        f"the manifest refuses what this plan does ({', '.join(f'{kind}: refuse' for kind in kinds)}) to {names}: "
        "nothing was changed",
        detail="\n".join(lines),
        hint=Hint(
            "if it is meant, say so above the first statement of the file: -- orch: allow CODE REASON (",
            Command("lint"),
            " shows the code)",
        ),
    )


def risks_of(run: Run, plan: Plan) -> dict[str, Sequence[Risk]]:
    """Return the risky statements among those that would run, database by database.

    Members of a fleet have the same files: what is alike in everything that a rule may look at is judged once.
    """
    judged: dict[tuple[object, ...], Sequence[Risk]] = {}
    found: dict[str, Sequence[Risk]] = {}
    for database in plan.databases:
        if database.id not in run.databases or not database.steps:
            continue
        kind = _kind(run, database)
        if kind not in judged:
            judged[kind] = _judge(run, plan, database)
        if judged[kind]:
            found[database.id] = judged[kind]
    return found


def _kind(run: Run, planned: DatabasePlan) -> tuple[object, ...]:
    """Return what the risks of a database's plan depend on."""
    database = run.databases[planned.id]
    return (
        planned.engine,
        id(run.catalogs.get(planned.id)),  # the run holds them
        tuple((step.version, step.checksum, step.first) for step in planned.steps),
        _is_fresh(run, planned),
        run.targets[planned.id].parameters.get("x-multi-statement"),
        tuple(database.variables.items()),
        tuple(database.lint.levels.items()),
    )


def _judge(run: Run, plan: Plan, planned: DatabasePlan) -> Sequence[Risk]:
    from orchestrator.analysis.risks import risks

    found = risks(
        _ahead(run, plan, planned),
        fresh=_is_fresh(run, planned),
        past=partial(_past, run, plan, planned),
        engine=planned.engine,
        levels=run.databases[planned.id].lint.levels,
    )
    return [replace(risk, what=run.redact(risk.what), statement=run.redact(risk.statement)) for risk in found]


def _is_fresh(run: Run, database: DatabasePlan) -> bool:
    """Whether the plan creates this database empty: a template of its own may hold tables."""
    return database.create and run.databases[database.id].create.template in (None, "template0")


def _ahead(run: Run, plan: Plan, database: DatabasePlan) -> Iterator[Script]:
    """Yield the files of a database's steps with the statements that would run."""
    files = {migration.version: migration.file(plan.direction) for migration in run.catalogs.get(database.id, ())}
    for step in database.steps:
        file = files.get(step.version)
        if file is not None and file.checksum == step.checksum:  # else the plan is stale, and says so
            script = run.read_script(run.databases[database.id], file)
            yield replace(script, statements=script.statements[step.first :])


def _past(run: Run, plan: Plan, database: DatabasePlan) -> Iterator[Script]:
    """Yield the up files that are applied before the steps of a database's plan; one that cannot be read is passed over."""
    if not database.steps:
        return
    last = max(step.version for step in database.steps)
    steps = {step.version for step in database.steps} if plan.direction is Direction.UP else set()
    for migration in run.catalogs.get(database.id, ()):
        if migration.version <= last and migration.version not in steps and migration.up is not None:
            with suppress(OrchError):
                yield run.read_script(run.databases[database.id], migration.up)
