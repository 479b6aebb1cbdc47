"""Make the plan: a pure function of manifest, files and what was found on the servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from orchestrator.engines import dialect
from orchestrator.errors import (
    ConflictError,
    InvalidError,
    InvalidGroup,
    OrchError,
    StalePlanError,
    UsageError,
)
from orchestrator.events import Failure
from orchestrator.hints import Command, Hint
from orchestrator.model import Database, Direction, File, History, Migration
from orchestrator.planning.attempts import digest
from orchestrator.planning.half_done import UNDERWAY, ReadScript, part_changed
from orchestrator.planning.history import State, reconcile, unrecorded
from orchestrator.planning.plan import DatabasePlan, Plan, Request, Step
from orchestrator.planning.problems import Kind, Problem, spoken
from orchestrator.planning.surveys import Survey, running


def make_plan(
    databases: Sequence[Database],
    catalogs: Mapping[str, Sequence[Migration]],
    surveys: Mapping[str, Survey],
    read_script: ReadScript,
    request: Request,
    tool: str,
) -> Plan:
    """Return the plan for these databases, given in an order that respects their dependencies.

    Raises InvalidGroup for files that do not parse and UsageError for a version that does not exist. What is wrong with
    one database only becomes its `failure`.
    """
    invalid: list[InvalidError] = []
    plans = []
    chosen = {database.id for database in databases}
    for database in databases:
        survey = surveys[database.id]
        base = DatabasePlan(
            database.id,
            database.engine,
            survey.name or database.name,
            survey.endpoint,
            tuple(need for need in database.depends_on if need in chosen),
        )
        if survey.failure:
            plans.append(replace(base, failure=survey.failure))
            continue
        try:
            if request.direction is Direction.UP and (refused := survey.refused(database.id)):
                raise refused
            if busy := _underway(base, survey, request):
                plans.append(busy)
                continue
            planned = _plan_one(base, database, catalogs[database.id], survey, read_script, request)
            plans.append(replace(planned, notes=(running(survey.holder), *planned.notes)) if survey.holder else planned)
        except InvalidGroup as group:
            invalid.extend(group.errors)
        except InvalidError as error:
            invalid.append(error)
        except UsageError:
            raise
        except OrchError as error:
            plans.append(replace(base, failure=Failure.of(error, str)))
    InvalidGroup.raise_if(invalid)
    ordered = plans if request.direction is Direction.UP else list(reversed(plans))
    return Plan(request.direction, tuple(ordered), tool)


def _underway(base: DatabasePlan, survey: Survey, request: Request) -> DatabasePlan | None:
    """Return the plan of a database that another run is migrating now, if that prevents a plan."""
    if survey.holder is None or not survey.holder.running:
        return None
    blocked = [one for one in survey.state.blocked(request.direction) if one.kind is not Kind.OUT_OF_ORDER]
    if not blocked or any(problem.kind not in UNDERWAY for problem in blocked):
        return None
    if request.direction is Direction.DOWN:
        raise ConflictError(f"{base.id} is locked: {running(survey.holder)}", hint="run again when that is done")
    return replace(base, base=survey.base, version=survey.state.version, notes=(running(survey.holder),))


def remaining(
    planned: DatabasePlan, migrations: Sequence[Migration], history: History, out_of_order: bool
) -> tuple[Step, ...]:
    """Return the steps of the plan that are not done yet, or raise StalePlanError.

    Called under the lock. A step that somebody has meanwhile made exactly as planned counts as done; anything else that
    changed makes the plan stale.
    """
    if digest(history) == planned.base:
        return planned.steps
    state = reconcile(migrations, history, out_of_order=out_of_order or any(step.late for step in planned.steps))
    direction = planned.steps[0].direction if planned.steps else Direction.UP
    done = set(state.applied)
    if state.partial is not None:
        done.discard(state.partial.version)
    if direction is Direction.UP:
        todo = tuple(step for step in planned.steps if step.version not in done)
    else:
        todo = tuple(step for step in planned.steps if step.version in done or _is_partial(state, step.version))
    files = {m.version: m for m in migrations}
    if direction is Direction.UP:
        expected = [v for v in state.pending if v <= max((s.version for s in planned.steps), default=0)]
    else:  # from the top down: what somebody has put on top since then must not be passed over
        lowest = min(step.version for step in planned.steps)
        standing = {*state.applied, *([state.partial.version] if state.partial else [])}
        expected = sorted((v for v in standing if v >= lowest), reverse=True)
    same_goal = [step.version for step in todo] == expected
    blocked = state.blocked(direction)
    if blocked or not same_goal or any(step.version not in files for step in todo):
        raise StalePlanError(
            f"{planned.id} changed after the plan was made",
            detail=blocked[0].what if blocked else f"it is now at {spoken(state.version)}",
            hint="nothing was run on it; make the plan again",
        )
    partial = state.partial
    if partial is not None and todo and todo[0].version == partial.version:
        todo = (replace(todo[0], first=partial.applied), *todo[1:])
    return todo


def _is_partial(state: State, version: int) -> bool:
    return state.partial is not None and state.partial.version == version


def _plan_one(
    base: DatabasePlan,
    database: Database,
    migrations: Sequence[Migration],
    survey: Survey,
    read_script: ReadScript,
    request: Request,
) -> DatabasePlan:
    history, state = survey.history, survey.state
    direction = request.direction
    if blocked := state.blocked(direction):
        raise _conflict(database.id, blocked)
    if direction is Direction.UP:
        versions = _up_versions(database.id, migrations, state, request)
    else:
        versions = _down_versions(database.id, migrations, state, request)
    files = {migration.version: migration for migration in migrations}
    invalid: list[InvalidError] = []
    steps = []
    for version in versions:
        try:
            steps.append(_step(database, files[version], state, read_script, request))
        except InvalidError as error:
            invalid.append(error)
    InvalidGroup.raise_if(invalid)
    wanted = database.create.extensions if direction is Direction.UP else ()
    return replace(
        base,
        base=survey.base,
        create=not history.exists and dialect(database.engine).creates and direction is Direction.UP,
        extensions=tuple(name for name in wanted if name not in history.extensions),
        version=state.version,
        adopt=state.adopt,
        forget=state.forget,
        pointer_stale=state.version_row_stale,
        steps=tuple(steps),
        notes=(
            *unrecorded(history, state, database.id),
            *state.notes,
            *_worth_knowing(state, direction, steps),
            *_of_files(database, [files[step.version].file(direction) for step in steps], read_script),
        ),
    )


def _worth_knowing(state: State, direction: Direction, steps: Sequence[Step]) -> Iterator[str]:
    """Yield problems that do not block this direction but should be known."""
    yield from (problem.what for problem in state.problems if direction not in problem.blocks)
    yield from (
        f"{step.path} is empty: only the history changes" for step in steps if step.path and not step.statements
    )


def _of_files(database: Database, found: Sequence[File | None], read_script: ReadScript) -> Iterator[str]:
    """Yield notes on the files that would run, such as unknown commands and statements that change the session."""
    scripts = [read_script(database, file) for file in found if file is not None]
    if not scripts:
        return
    from orchestrator.analysis.sessions import leaks, limited_effects  # its patterns take long to compile

    for script in scripts:
        yield from script.notes
        yield from map(str, limited_effects(script))
    yield from map(str, leaks(scripts))


def _up_versions(id: str, migrations: Sequence[Migration], state: State, request: Request) -> list[int]:
    if request.to is None or request.to_of not in (None, id):
        return list(state.pending)
    if request.to not in {migration.version for migration in migrations}:
        raise _no_such_version(id, request.to, migrations)
    if state.version is not None and state.version > request.to:
        raise UsageError(
            f"{id} is at version {state.version}, above {request.to}",
            hint=Hint(Command("rollback", id, "--to", request.to)),
        )
    return [version for version in state.pending if version <= request.to]


def _down_versions(id: str, migrations: Sequence[Migration], state: State, request: Request) -> list[int]:
    """Return the versions to roll back, highest first. Raise UsageError or ConflictError if that is impossible."""
    standing = sorted({*state.applied, *([state.partial.version] if state.partial else [])}, reverse=True)
    if request.steps is not None:
        if request.steps > len(standing):
            raise UsageError(
                f"{id} has {len(standing)} applied migration{'' if len(standing) == 1 else 's'}, not {request.steps}",
                hint=Hint("all of them: ", Command("rollback", id, "--steps", len(standing))) if standing else "",
            )
        versions = standing[: request.steps]
    else:
        to = request.to or 0
        if to and to not in {migration.version for migration in migrations}:
            raise _no_such_version(id, to, migrations)
        if to and to not in standing:
            raise UsageError(f"version {to} is not applied to {id}", hint=Hint(Command("status"), " tells what is"))
        versions = [version for version in standing if version > to]
    files = {migration.version: migration for migration in migrations}
    for version in versions:
        if version in state.squashed:
            raise ConflictError(
                f"{id} cannot be rolled back past version {version}: "
                "its file replaces others, which were applied here one by one",
                hint="roll back with a release that still has those files",
            )
        migration = files.get(version)
        if migration is None or (migration.down is None and not request.allow_missing_down):
            raise ConflictError(
                f"{id} cannot be rolled back past version {version}: "
                + ("its files are gone" if migration is None else "it has no down file"),
                hint="write the down file, or --allow-missing-down to change only the history"
                if migration
                else Hint(
                    "restore both files, of another branch or an older release; or undo by hand what they did, then: ",
                    Command("repair", id, "--mark-not-applied", version),
                ),
            )
    return versions


def _step(database: Database, migration: Migration, state: State, read_script: ReadScript, request: Request) -> Step:
    direction = request.direction
    file = migration.file(direction)
    partial = state.partial if state.partial and state.partial.version == migration.version else None
    if file is None:
        return Step(migration.version, migration.name, direction, "", "", 0, atomic=True)
    script = read_script(database, file)
    if partial is not None and (problem := part_changed(file, partial, script)):
        raise ConflictError(problem.what, hint=problem.hint_for(database.id))
    return Step(
        migration.version,
        migration.name,
        direction,
        file.path,
        file.checksum,
        len(script.statements),
        script.atomic,
        partial.applied if partial else 0,
        late=direction is Direction.UP and partial is None and migration.version < (state.version or 0),
    )


def _conflict(id: str, blocked: Sequence[Problem]) -> OrchError:
    first = blocked[0]
    rest = "\n".join(f"also: {problem.what}" for problem in blocked[1:])
    return ConflictError(f"{id}: {first.what}", detail=rest, hint=first.hint_for(id))


def _no_such_version(id: str, version: int, migrations: Sequence[Migration]) -> UsageError:
    known = ", ".join(str(migration.version) for migration in migrations[-10:])
    return UsageError(f"{id} has no migration with version {version}", hint=f"there are: {known or 'none'}")
