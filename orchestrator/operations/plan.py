"""Make a plan: look at the servers and decide what would run. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from orchestrator.errors import ExitCode, UsageError, exit_code_of
from orchestrator.events import Failure, Notice, Sink
from orchestrator.execution.reading import plan_of
from orchestrator.execution.run import Run
from orchestrator.execution.survey import survey
from orchestrator.hints import Blank, Command, Hint
from orchestrator.model import Database, Direction
from orchestrator.operations.assembly import Assembly
from orchestrator.operations.scope import Scope
from orchestrator.phrases import some
from orchestrator.planning.plan import Plan, Request
from orchestrator.records import dataclass, replace

if TYPE_CHECKING:
    from orchestrator.analysis.risks import Risk
    from orchestrator.execution.elsewhere import Elsewhere
    from orchestrator.execution.executor import Executor
    from orchestrator.execution.one_database import Migrate
    from orchestrator.operations.checks import Asked
    from orchestrator.planning.rollout import FleetRollout
    from orchestrator.planning.surveys import Survey


@dataclass(frozen=True)
class Planned:
    """A plan, with the run that can execute it. `checks` are the answers to its `require` checks, if they were asked.

    `later` has a sentence for each fleet whose members are not known yet: they are no part of the plan. `migrate` has the
    work on a database done elsewhere. `assembly` is what the run was made of, unless it is a rollback.
    """

    run: Run
    plan: Plan
    checks: tuple[Asked, ...] | None = None
    later: tuple[str, ...] = ()
    rollouts: tuple[FleetRollout, ...] = ()
    elsewhere: Elsewhere | None = None
    migrate: Migrate | None = None
    assembly: Assembly | None = None

    @cached_property
    def risks(self) -> Mapping[str, Sequence[Risk]]:
        """The risky statements among those that would run, by database."""
        from orchestrator.operations.risks import risks_of

        return risks_of(self.run, self.plan)

    def executor(self) -> Executor:
        """Return what executes the plan; its `stop` is for a signal handler."""
        from orchestrator.execution.elsewhere import NOTHING
        from orchestrator.execution.executor import Executor

        elsewhere, incomplete = self.elsewhere or NOTHING, bool(self.later)
        return Executor(self.run, self.plan, self.rollouts, elsewhere, self.migrate, incomplete=incomplete)

    @property
    def failures(self) -> tuple[tuple[str, Failure], ...]:
        """Which databases cannot be planned, and why."""
        return tuple((one.id, one.failure) for one in self.plan.databases if one.failure)

    @property
    def exit_code(self) -> int:
        """What `orch plan` exits with: that of the failures, or 1 if a check stops a file, else 0."""
        stopped = any(one.stops for one in self.checks or ())
        return exit_code_of(one.exit_code for one in self.plan.failures) or int(ExitCode.FAILED if stopped else 0)


def plan(
    scope: Scope,
    sink: Sink,
    *,
    to: int | None = None,
    create: bool = True,
    late: bool = False,
    checks: bool = False,
    at_once: bool = False,
    fail_fast: bool = False,
    failed: bool = False,
    resumed: Collection[str] = (),
) -> Planned:
    """Return the plan of what is pending on the chosen databases. What is wrong with one of them is its failure.

    `to` is the last version to apply, for the one database that `scope.only` means. Without `create` a missing database is
    a failure. `late` permits versions below one that is applied. `checks` asks the `require` checks of the files.
    `failed` narrows it to what the last run left behind, `resumed` are groups whose rollout goes on without its pause.
    `at_once`: the plan is executed next, so that connections may be kept, with `fail_fast` until the first failure.
    InvalidError for a manifest, files or DSNs that are wrong, UsageError for names and versions that mean nothing.
    """
    assembly = scope.assemble()
    assembly.permit(create=create, late=late)
    awaited = assembly.divide(scope.shard) if scope.shard else {}
    run = scope.run(assembly, sink, fail_fast=fail_fast)
    outside = None
    if not scope.embedded and not scope.no_deps and any(one.external for one in assembly.databases):
        from orchestrator.operations.external import watch

        outside = watch(run, assembly)
        run = replace(run, ready=outside.ready)
    request = _up_to(assembly, to, scope.only)
    rolled = any(one.fleet and one.fleet.rollout for one in assembly.databases)
    surveys = survey(run, keep=at_once, whole=failed or rolled)
    databases = _left_behind(run, assembly.databases, surveys) if failed else assembly.databases
    databases = tuple(one for one in databases if one.id not in awaited)
    with run.timings.stage("plan"):
        made = plan_of(run, databases, surveys, request)
    if outside is not None and not at_once:
        made = _with_notes(made, outside.waits_for)
    made = guarded(run, made)
    run = bootstrapped(run, made)
    if assembly.manifest.fleets and not (scope.only or scope.embedded or scope.shard):
        from orchestrator.operations.fleets import tell_vanished

        tell_vanished(run, assembly)
    waves = rollouts_of(run, assembly, made, surveys, resumed, embedded=scope.embedded)
    if scope.shard:
        from orchestrator.operations.shards import elsewhere, refuse_rollouts

        refuse_rollouts(run)
        return Planned(run, made, None, assembly.later, waves, elsewhere(run, awaited), assembly=assembly)
    if not checks:
        return Planned(run, made, None, assembly.later, waves, assembly=assembly)
    from orchestrator.operations.checks import ask_checks

    return Planned(run, made, tuple(ask_checks(run, made)), assembly.later, waves, assembly=assembly)


def _left_behind(run: Run, databases: Sequence[Database], surveys: Mapping[str, Survey]) -> tuple[Database, ...]:
    """Return the databases that the last run left behind, with what they depend on; tells which run that was."""
    from orchestrator.planning.left_behind import left_behind

    left = left_behind(databases, surveys)
    needs = {one.id: one.depends_on for one in databases}
    reached, queue = set[str](), list(left.databases)
    while queue:
        id = queue.pop()
        if id not in reached:
            reached.add(id)
            queue += needs[id]
    if left.at is None:
        what = "no database has a record of a run"
    else:
        what = f"the last run ({some(left.run_ids)}, {left.at:%Y-%m-%d %H:%M} UTC) left {_counted(len(left.databases))} behind"
    run.sink(Notice("", what))
    return tuple(one for one in databases if one.id in reached)


def _counted(number: int) -> str:
    return f"{number:,} database{'s' * (number != 1)}"


def rollouts_of(
    run: Run,
    assembly: Assembly,
    plan: Plan,
    surveys: Mapping[str, Survey] | None,
    resumed: Collection[str] = (),
    *,
    embedded: bool,
) -> tuple[FleetRollout, ...]:
    """Return the waves of the fleets of a plan; tells of canaries and waves that mean no member.

    On `embedded` servers, which are for development, no wave waits. InvalidError if none is, or two rollouts wait for each other.
    """
    members: dict[str, list[Database]] = {}
    for one in assembly.manifest.databases:
        if one.fleet and one.fleet.rollout and not one.stands_for_all:
            members.setdefault(one.fleet.group, []).append(one)
    if not members:
        return ()
    from orchestrator.planning.rollout import refuse_cycles, rollouts, skipped_waves, without_meaning

    found = rollouts(members, plan, surveys, datetime.now(UTC), resumed=resumed, pauses=not embedded)
    for ones in members.values():
        if ones[0].fleet and (rollout := ones[0].fleet.rollout):
            for what in without_meaning(ones, rollout):
                run.sink(Notice("", what))
    if surveys is not None:
        for what in skipped_waves(found, run.databases):
            run.sink(Notice("", what))
    refuse_cycles(found, plan)
    return tuple(found)


def bootstrapped(run: Run, made: Plan) -> Run:
    """Return the run that makes missing members of fleets from templates, where the manifest asks for that."""
    if not any(one.fleet and one.fleet.bootstrap for one in run.databases.values()):
        return run
    from orchestrator.operations.bootstrap import with_templates

    return with_templates(run, made)


def guarded(run: Run, made: Plan) -> Plan:
    """Return the plan with what was changed behind orch since the last apply, where the manifest asks for that."""
    if all(database.settings.drift == "off" for database in run.databases.values()):
        return made
    from orchestrator.operations.drift import guard

    return guard(run, made)


def _with_notes(plan: Plan, notes: Callable[[str], Sequence[str]]) -> Plan:
    """Return the plan with more notes on the databases that it changes."""
    return replace(
        plan,
        databases=tuple(
            replace(one, notes=(*notes(one.id), *one.notes)) if one.has_changes else one for one in plan.databases
        ),
    )


def _up_to(assembly: Assembly, to: int | None, only: Sequence[str] | None) -> Request:
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
