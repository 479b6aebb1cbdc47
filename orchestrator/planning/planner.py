"""Make the plan of what `choose` has chosen: a pure function of that and of the files that were read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from orchestrator.engines import DIALECTS, dialect
from orchestrator.errors import (
    ConflictError,
    InvalidError,
    InvalidGroup,
    OrchError,
    StalePlanError,
    UsageError,
)
from orchestrator.events import Failure
from orchestrator.model import Database, Direction, File, History, Migration
from orchestrator.planning.attempts import digest
from orchestrator.planning.choose import Chosen, Draft
from orchestrator.planning.half_done import part_changed
from orchestrator.planning.history import State, reconcile, unrecorded
from orchestrator.planning.plan import DatabasePlan, Plan, Request, Step
from orchestrator.planning.problems import spoken
from orchestrator.planning.scripts import Scripts, script_of
from orchestrator.planning.surveys import running
from orchestrator.records import replace


def make_plan(draft: Draft, read: Iterable[Scripts], tool: str) -> Plan:
    """Return the plan of what was chosen. `tool` is the version of orch.

    `read` has the files of each database, in the order of `draft.files()`. It may be an iterator, so that the files of
    one database need not be kept while the next one is planned.
    Raises InvalidGroup for files that do not parse. What is wrong with one database only becomes its `failure`.
    """
    invalid: list[InvalidError] = []
    plans = []
    for one, scripts in zip(draft.databases, read, strict=True):
        if isinstance(one, DatabasePlan):
            plans.append(one)
            continue
        try:
            planned = _plan_one(one, scripts, draft.request)
            holder = one.survey.holder
            plans.append(replace(planned, notes=(running(holder), *planned.notes)) if holder else planned)
        except InvalidGroup as group:
            invalid.extend(group.errors)
        except InvalidError as error:
            invalid.append(error)
        except UsageError:
            raise
        except OrchError as error:
            plans.append(replace(one.base, failure=Failure.of(error, str)))
    InvalidGroup.raise_if(invalid)
    ordered = plans if draft.request.direction is Direction.UP else list(reversed(plans))
    return Plan(draft.request.direction, tuple(ordered), tool)


def refuse_changed_files(planned: DatabasePlan, files: Mapping[int, Migration]) -> None:
    """Raise StalePlanError if a file is not what the plan was made from. `files` are the migrations by their versions."""
    for step in planned.steps:
        migration = files.get(step.version)
        file = migration.file(step.direction) if migration else None
        if (file.checksum if file else "") != step.checksum:
            raise StalePlanError(
                f"{step.path or f'version {step.version}'} changed after the plan was made",
                hint=f"nothing was run on {planned.id}; make the plan again",
            )


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


def _plan_one(chosen: Chosen, scripts: Scripts, request: Request) -> DatabasePlan:
    database, survey, direction = chosen.database, chosen.survey, request.direction
    history, state = survey.history, survey.state
    invalid: list[InvalidError] = []
    steps = []
    for migration in chosen.migrations:
        try:
            steps.append(_step(database, migration, state, scripts, request))
        except InvalidError as error:
            invalid.append(error)
    InvalidGroup.raise_if(invalid)
    wanted = database.create.extensions if direction is Direction.UP else ()
    return replace(
        chosen.base,
        base=survey.base,
        create=not history.exists and dialect(database.engine).creates and direction is Direction.UP,
        extensions=tuple(name for name in wanted if name not in history.extensions),
        version=state.version,
        adopt=state.adopt,
        forget=state.forget,
        version_row_stale=state.version_row_stale,
        steps=tuple(steps),
        notes=(
            *unrecorded(history, state, database.id),
            *state.notes,
            *_worth_knowing(state, direction, steps),
            *_of_files(database, [migration.file(direction) for migration in chosen.migrations], scripts),
        ),
    )


def _worth_knowing(state: State, direction: Direction, steps: Sequence[Step]) -> Iterator[str]:
    """Yield problems that do not block this direction but should be known."""
    yield from (problem.what for problem in state.problems if direction not in problem.blocks)
    yield from (
        f"{step.path} is empty: only the history changes" for step in steps if step.path and not step.statements
    )


def _of_files(database: Database, found: Sequence[File | None], scripts: Scripts) -> Iterator[str]:
    """Yield notes on the files that would run, such as unknown commands and statements that change the session."""
    read = [script_of(scripts, database.id, file) for file in found if file is not None]
    if not read:
        return
    from orchestrator.analysis.sessions import leaks, limited_effects  # its patterns take long to compile

    set_local = database.engine in DIALECTS and dialect(database.engine).set_local
    for script in read:
        yield from script.notes
        yield from map(str, limited_effects(script, set_local=set_local))
    yield from map(str, leaks(read))


def _step(database: Database, migration: Migration, state: State, scripts: Scripts, request: Request) -> Step:
    direction = request.direction
    file = migration.file(direction)
    partial = state.partial if state.partial and state.partial.version == migration.version else None
    if file is None:
        return Step(migration.version, migration.name, direction, "", "", 0, atomic=True)
    script = script_of(scripts, database.id, file)
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
        late=direction is Direction.UP and partial is None and migration.version < state.begun,
    )
