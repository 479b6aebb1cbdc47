"""Execute a plan: one that is made now, or a saved one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from orchestrator.errors import InvalidError, StalePlanError, UsageError
from orchestrator.events import Failure, Sink
from orchestrator.execution.run import Run
from orchestrator.hints import NAME, Blank, Command, Hint
from orchestrator.operations.plan import Planned, bootstrapped, guarded, plan, rollouts_of
from orchestrator.operations.scope import Scope
from orchestrator.phrases import did_you_mean
from orchestrator.planning.plan import DatabasePlan, Plan
from orchestrator.records import replace

_MAX_BYTES = 1024 * 1024 * 1024
"""Of a saved plan: many times what 10,000 databases with 50 migrations each need. A larger file is no plan."""


def prepare(
    scope: Scope,
    sink: Sink,
    *,
    plan_file: str | None = None,
    to: int | None = None,
    create: bool = True,
    late: bool = False,
    fail_fast: bool = False,
    failed: bool = False,
) -> Planned:
    """Return what will be executed: the plan in a file, or one that is made now, as `plan` makes it.

    `failed` is that of `plan`. A database that a saved plan was not made for has a failure. UsageError for options that
    would narrow a saved plan.
    """
    if plan_file is None:
        return plan(scope, sink, to=to, create=create, late=late, at_once=True, fail_fast=fail_fast, failed=failed)
    saved = _read_plan(plan_file)
    _refuse_mixed(scope, to, late or failed)
    assembly = replace(
        scope, only=[database.id for database in saved.databases], no_deps=bool(saved.databases)
    ).assemble(saved=True)
    assembly.permit(create=create)
    run = scope.run(assembly, sink, fail_fast=fail_fast)
    if not scope.embedded and any(one.external for one in assembly.databases):
        from orchestrator.operations.external import watch

        run = replace(run, ready=watch(run, assembly).ready)
    if scope.shard:
        from orchestrator.operations.shards import elsewhere, narrowed, refuse_rollouts

        refuse_rollouts(run)
        part, awaited = narrowed(saved, scope.shard)
        made = guarded(run, _for_these_servers(part, run))
        return Planned(bootstrapped(run, made), made, elsewhere=elsewhere(run, awaited), assembly=assembly)
    made = guarded(run, _for_these_servers(saved, run))
    waves = rollouts_of(run, assembly, made, None, embedded=scope.embedded)
    return Planned(bootstrapped(run, made), made, rollouts=waves, assembly=assembly)


def resume(scope: Scope, sink: Sink, groups: Collection[str], *, late: bool = False) -> Planned:
    """Return the plan of `apply` whose rollouts go on without the pause before their next wave: of these groups, or of all.

    `late` is that of `plan`. UsageError for a group that is no fleet with a rollout.
    """
    manifest = scope.assemble(offline=True).manifest
    known = [fleet.group for fleet in manifest.fleets if fleet.rollout]
    groups = [group.removeprefix("group:") for group in groups]  # as messages name them
    for group in groups:
        if group not in known:
            hint = did_you_mean(group, known) or ("those are " + ", ".join(known) if known else "")
            raise UsageError(f"no fleet with a rollout has the group {group!r}", hint=hint)
    return plan(scope, sink, at_once=True, late=late, resumed=groups or known)


def _read_plan(path: str) -> Plan:
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


def _for_these_servers(plan: Plan, run: Run) -> Plan:
    """Return a saved plan in which every database that it was not made for has a failure instead of its steps."""
    return replace(plan, databases=tuple(for_its_server(planned, run) for planned in plan.databases))


def for_its_server(planned: DatabasePlan, run: Run) -> DatabasePlan:
    """Return the plan of a database, or a failure in its place if this run would go to another server with it."""
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


def _refuse_mixed(scope: Scope, to: int | None, late: bool) -> None:
    """A plan says itself what it is for."""
    if late:
        file = Blank("FILE")
        hint = Hint(Command("plan", "--allow-out-of-order", "-o", file), ", then: ", Command("apply", file))
        raise UsageError("a saved plan says itself which late versions it applies", hint=hint)
    if scope.only or scope.exclude or scope.no_deps or to is not None:
        raise UsageError(
            "a saved plan cannot be narrowed",
            hint=Hint("make another one: ", Command("plan", "--only", NAME, "-o", Blank("FILE"))),
        )
