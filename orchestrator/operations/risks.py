"""The risks of a plan: which of the statements that would run lose data, or stop other sessions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.analysis.rule import OTHERS_LOSE
from orchestrator.engines import dialect
from orchestrator.errors import OrchError
from orchestrator.execution.run import Run
from orchestrator.manifest.retarget import login
from orchestrator.model import Direction, Script
from orchestrator.planning.plan import DatabasePlan, Plan
from orchestrator.records import replace

if TYPE_CHECKING:
    from orchestrator.analysis.risks import Risk


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
        _own(run, planned),
        login(run.targets[planned.id]),
    )


def _own(run: Run, planned: DatabasePlan) -> str:
    """Return the name of a database, which its files may hold. Members of a fleet have files in common, which cannot."""
    return run.targets[planned.id].database if run.databases[planned.id].fleet is None else ""


def _judge(run: Run, plan: Plan, planned: DatabasePlan) -> Sequence[Risk]:
    user, codes = login(run.targets[planned.id]), dialect(planned.engine).lint_rules
    if _is_fresh(run, planned) and not user and not any(code.startswith(codes) for code in OTHERS_LOSE):
        return []  # a new file of SQLite: nobody can lose anything, and the rules take long to load
    from orchestrator.analysis.own_login import changes_own_login
    from orchestrator.analysis.risks import risks

    found = risks(
        _ahead(run, plan, planned),
        fresh=_is_fresh(run, planned),
        past=partial(_past, run, plan, planned),
        engine=planned.engine,
        levels=run.databases[planned.id].lint.levels,
        own=_own(run, planned),
    )
    found += changes_own_login(_ahead(run, plan, planned), user)
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
