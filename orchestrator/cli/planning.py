"""How commands get a plan: look at the servers and decide, or read a saved one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.errors import InvalidError, OrchError, StalePlanError, UsageError
from orchestrator.events import Failure
from orchestrator.execution.survey import survey
from orchestrator.hints import NAME, Blank, Command, Hint
from orchestrator.model import Direction, Script
from orchestrator.planning.plan import DatabasePlan, Plan, Request, make_plan

if TYPE_CHECKING:
    from orchestrator.analysis.risks import Risk
    from orchestrator.execution.run import Run
    from orchestrator.operations.assembly import Assembly

_MAX_BYTES = 64 * 1024 * 1024


def planned(run: Run, assembly: Assembly, request: Request, *, keep: bool = False) -> Plan:
    """Look at the servers and return the plan; `keep`: it is executed at once."""
    return make_plan(assembly.databases, run.catalogs, survey(run, keep=keep), run.read_script, request, __version__)


def with_notes(plan: Plan, notes: Callable[[str], Sequence[str]]) -> Plan:
    """Return the plan with more notes on the databases that it changes."""
    return replace(
        plan,
        databases=tuple(
            replace(one, notes=(*notes(one.id), *one.notes)) if one.has_changes else one for one in plan.databases
        ),
    )


def hazards_of(run: Run, plan: Plan) -> dict[str, list[Risk]]:
    """Return what to look at first in the statements that would run, database by database."""
    from orchestrator.analysis.risks import risks

    def shown(risk: Risk) -> Risk:
        return replace(risk, what=run.redact(risk.what), statement=run.redact(risk.statement))

    found = {
        database.id: risks(
            _ahead(run, plan, database),
            fresh=_is_fresh(run, database),
            past=partial(_past, run, plan, database),
            engine=database.engine,
            levels=run.databases[database.id].lint.levels,
        )
        for database in plan.databases
    }
    return {id: list(map(shown, dangers)) for id, dangers in found.items() if dangers}


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


def up_to(assembly: Assembly, to: int | None, only: Sequence[str] | None) -> Request:
    """Return the request of apply and plan; `to` is for the one database that --only stands for."""
    if to is None:
        return Request(Direction.UP)
    return Request(Direction.UP, to=to, to_of=_single(assembly, only))


def _single(assembly: Assembly, only: Sequence[str] | None) -> str:
    from orchestrator.manifest.names import select

    if only is None or len(only) != 1:
        raise UsageError(
            "--to needs a single --only",
            hint=Hint(Command("apply", "--only", Blank("DATABASE"), "--to", Blank("VERSION"))),
        )
    meant = [database.id for database in select(assembly.manifest.databases, only, no_deps=True)]
    if len(meant) > 1:
        raise UsageError(f"--to is for one database, and {only[0]!r} stands for {len(meant)}: {', '.join(meant)}")
    if meant[0] not in {database.id for database in assembly.databases}:
        raise UsageError(f"--to is for {meant[0]}, which --exclude leaves out", hint="leave out --exclude, or --to")
    return meant[0]


def read_plan(path: str) -> Plan:
    """Read a saved plan; InvalidError if there is none."""
    from orchestrator.manifest.source import read_text
    from orchestrator.planning.saved_plan import parse_plan

    try:
        text = read_text(Path(path), _MAX_BYTES)
    except InvalidError as error:
        made, only = Command("plan", "-o", Blank("FILE")), Command("apply", "--only", path)
        hint = Hint("for a plan: ", made, "; for one database: ", only)
        raise InvalidError(error.what, where=error.where, hint=hint) from None
    return parse_plan(text, path)


def for_these_servers(plan: Plan, run: Run) -> Plan:
    """Return a saved plan in which every database that it was not made for has a failure instead of its steps."""
    return replace(plan, databases=tuple(_for_its_server(planned, run) for planned in plan.databases))


def _for_its_server(planned: DatabasePlan, run: Run) -> DatabasePlan:
    target = run.targets.get(planned.id)
    if target is None:
        error = StalePlanError(f"{planned.id} is in the plan, and is no database of the manifest")
    elif (target.engine, target.database, target.endpoint) == (planned.engine, planned.name, planned.endpoint):
        return planned
    else:
        error = StalePlanError(
            f"the plan of {planned.id} is for {planned.engine} '{planned.name}' on {planned.endpoint}, "
            f"and this run goes to {target.engine} '{target.database}' on {target.endpoint}",
            hint=f"nothing was run on {planned.id}; make the plan where it is applied, with the same DSNs",
        )
    failure = planned.failure or Failure.of(error, run.redact)
    return DatabasePlan(planned.id, planned.engine, planned.name, planned.endpoint, planned.depends_on, failure=failure)


def refuse_mixed(only: object, exclude: object, no_deps: bool, to: object, late: bool) -> None:
    """A plan says itself what it is for."""
    if late:
        file = Blank("FILE")
        hint = Hint(Command("plan", "--allow-out-of-order", "-o", file), ", then: ", Command("apply", file))
        raise UsageError("a saved plan says itself which late versions it applies", hint=hint)
    if only or exclude or no_deps or to is not None:
        raise UsageError(
            "a saved plan cannot be narrowed",
            hint=Hint("make another one: ", Command("plan", "--only", NAME, "-o", Blank("FILE"))),
        )
