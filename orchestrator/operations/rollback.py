"""Plan the rollback of migrations, exactly as many as asked for. It refuses what a dependent database still builds on."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.errors import ConflictError, UsageError
from orchestrator.events import Sink
from orchestrator.execution.reading import plan_of
from orchestrator.execution.survey import survey
from orchestrator.hints import Blank, Command, Hint
from orchestrator.model import Direction
from orchestrator.operations.kept import with_kept_files
from orchestrator.operations.plan import Planned, guarded
from orchestrator.operations.scope import Scope
from orchestrator.phrases import some
from orchestrator.planning.graph import dependants
from orchestrator.planning.plan import Request
from orchestrator.planning.problems import spoken
from orchestrator.planning.surveys import Survey
from orchestrator.records import replace

_NUMBER = ("--steps", Blank("NUMBER"))


def check_request(names: Sequence[str], steps: int | None, to: int | None) -> None:
    """Raise UsageError unless exactly one of `steps` and `to` says how far, and for a version names one database."""
    if (steps is None) == (to is None):
        raise UsageError("--steps N or --to VERSION is required", hint=Hint(Command("rollback", *names, "--steps", 1)))
    if to and len(names) > 1:
        raise UsageError("--to VERSION is for one database", hint="--to 0 and --steps N serve several")


def prepare(
    scope: Scope,
    sink: Sink,
    *,
    steps: int | None = None,
    to: int | None = None,
    allow_missing_down: bool = False,
    ignore_dependents: bool = False,
) -> Planned:
    """Return what will be rolled back on the databases of `scope.only`: the last `steps` migrations, or all above `to`.

    If one of them cannot be rolled back, none is: the plan then holds only failures. ConflictError if another database
    that depends on them still has applied migrations, unless `ignore_dependents`.
    """
    names = list(scope.only or ())
    check_request(names, steps, to)
    databases = replace(scope, no_deps=True).assemble().databases
    chosen = {database.id for database in databases}
    others = [] if ignore_dependents else _dependents(scope, chosen)
    assembly = replace(scope, only=[*chosen, *others], no_deps=True).assemble()
    run = scope.run(assembly, sink)
    surveys = survey(run, whole=True)
    below = some([database.id for database in databases])
    for other in others:
        _refuse_while_up(below, surveys[other], other, Command("rollback", other, *_NUMBER))
    if assembly.manifest.dependents and not ignore_dependents and not scope.embedded:
        from orchestrator.operations.external import above

        for one, found in above(run, assembly):
            command = Command("rollback", "-f", one.path, one.database.id, *_NUMBER)
            _refuse_while_up(below, found, str(one), command)
    request = Request(Direction.DOWN, to=to, steps=steps, allow_missing_down=allow_missing_down)
    run, surveys = with_kept_files(assembly, run, {id: surveys[id] for id in chosen}, request)
    plan = guarded(run, plan_of(run, databases, surveys, request))
    if plan.failures:  # all of them or none: only what stands in the way is told
        plan = replace(plan, databases=tuple(planned for planned in plan.databases if planned.failure))
    return Planned(run, plan)


def _dependents(scope: Scope, chosen: set[str]) -> list[str]:
    """Return what depends on the chosen databases, and is not chosen itself."""
    databases = replace(scope, only=None, exclude=None, no_deps=False).assemble().databases
    dependencies = {database.id: database.depends_on for database in databases}
    above = set().union(*(dependants(dependencies, id) for id in chosen)) - chosen
    return [database.id for database in databases if database.id in above]


def _refuse_while_up(below: str, found: Survey, named: str, command: Command) -> None:
    """Raise ConflictError if the dependent database `named` has applied migrations. `command` rolls it back."""
    hint = Hint(f"roll back {named} too: ", command, "; or --ignore-dependents")
    if found.failure:
        raise ConflictError(
            f"cannot roll back {below}: {named} depends on it and could not be read",
            detail=found.failure.what,
            hint=hint,
        )
    state = found.state
    if state.applied or state.partial:
        raise ConflictError(f"cannot roll back {below}: {named} depends on it (at {spoken(state.version)})", hint=hint)
