"""The plan: what a run will do, database by database. Made by a pure function, frozen, written as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from orchestrator.analysis.sessions import leaks, limited_effects
from orchestrator.engines import dialect
from orchestrator.errors import (
    ConflictError,
    CreationRefusedError,
    InvalidError,
    InvalidGroup,
    OrchError,
    StalePlanError,
    UsageError,
)
from orchestrator.events import Failure
from orchestrator.hints import NAME, Command, Hint
from orchestrator.model import Attempt, Database, Direction, File, History, LockHolder, Migration, Script
from orchestrator.planning.attempts import digest, resumable
from orchestrator.planning.history import State, reconcile, unrecorded
from orchestrator.planning.problems import Kind, Problem, spoken

PLAN_FORMAT = 1
UNDERWAY = (Kind.DIRTY, Kind.PARTIAL, Kind.IN_FLIGHT)
"""What a database looks like while a file of it runs."""


@dataclass(frozen=True, slots=True)
class Step:
    """One migration in one direction. `checksum` is that of `path`; `statements` how many it has, `first` where to begin.

    `path` is '' for a down whose file is missing and which is skipped on purpose: only the record changes. `late`: it is
    older than a version that is applied already, and its running is permitted.
    """

    version: int
    name: str
    direction: Direction
    path: str
    checksum: str
    statements: int
    atomic: bool
    first: int = 0
    late: bool = False


@dataclass(frozen=True, slots=True)
class DatabasePlan:
    """What happens to one database. With a `failure` nothing does. `base` is the fingerprint of the history seen."""

    id: str
    engine: str
    name: str
    endpoint: str
    depends_on: tuple[str, ...] = ()
    base: str = ""
    create: bool = False
    extensions: tuple[str, ...] = ()
    version: int | None = None
    adopt: tuple[int, ...] = ()
    forget: tuple[int, ...] = ()
    pointer_stale: bool = False
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    failure: Failure | None = None

    @property
    def place(self) -> str:
        """Where the database is, as people read it: server and database."""
        return f"{self.endpoint}/{self.name}"

    @property
    def has_changes(self) -> bool:
        """Whether executing this would write anything."""
        return bool(self.create or self.steps or self.adopt or self.forget or self.pointer_stale or self.extensions)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run."""

    direction: Direction
    databases: tuple[DatabasePlan, ...]
    tool: str = ""
    format: int = PLAN_FORMAT

    @property
    def has_changes(self) -> bool:
        """Whether any database would be written to."""
        return any(database.has_changes for database in self.databases)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The reasons why some databases cannot be planned."""
        return tuple(database.failure for database in self.databases if database.failure)

    def document(self) -> dict[str, Any]:
        """Return the plan as plain data. It holds no secret."""
        document: dict[str, Any] = {"format": self.format, "tool": self.tool, "direction": self.direction.value}
        document["databases"] = [
            _plain(asdict(replace(database, failure=None)))
            | {"failure": database.failure.document() if database.failure else None}
            for database in self.databases
        ]
        return document

    def to_json(self) -> str:
        """Return the plan as a JSON document, for a file."""
        return json.dumps(self.document(), indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: up to `to` (or all), or down by `steps` or to `to` (0: everything).

    `to_of` is the one database that `to` is meant for; the others go all the way.
    """

    direction: Direction = Direction.UP
    to: int | None = None
    to_of: str | None = None
    steps: int | None = None
    allow_missing_down: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found: a history, or why there is none, and where the database is (for people).

    `holder` has the migration lock; nobody looked, or there is none: None. `name` is that of the database on its
    server; `may_create`: it is created if it is missing.
    """

    endpoint: str
    history: History = field(default_factory=History)
    failure: Failure | None = None
    holder: LockHolder | None = None
    name: str = ""
    may_create: bool = True

    @property
    def place(self) -> str:
        """Where the database is, as people read it: server and database."""
        return f"{self.endpoint}/{self.name}" if self.name else self.endpoint

    def refused(self, id: str) -> CreationRefusedError | None:
        """Return the error of a database that is missing and must not be created."""
        if self.history.exists or self.may_create:
            return None
        return CreationRefusedError(
            f"{id}: database '{self.name}' does not exist on {self.endpoint}, and it must not be created",
            hint="if it was renamed or moved, correct its name or DSN in the manifest; "
            "if it is new, create it yourself, or allow it: create: if_missing in the manifest, without --no-create",
        )


def running(holder: LockHolder) -> str:
    """Return what to know of a database that is half way through a file while somebody holds its lock."""
    if holder.running:
        return f"it is being migrated now, by {holder.description}"
    return f"its lock names {holder.description}: if that lives, it is being migrated now"


ReadScript = Callable[[Database, File], Script]
"""Parses a file; InvalidError if it cannot."""


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
            if busy := _underway(base, survey, catalogs[database.id], request):
                plans.append(busy)
                continue
            planned = _plan_one(base, database, catalogs[database.id], survey.history, read_script, request)
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


def _underway(
    base: DatabasePlan, survey: Survey, migrations: Sequence[Migration], request: Request
) -> DatabasePlan | None:
    """Return the plan of a database that somebody is in the middle of migrating, as far as that stands in the way."""
    if survey.holder is None or not survey.holder.running:
        return None
    state = reconcile(migrations, survey.history, out_of_order=True)
    blocked = state.blocked(request.direction)
    if not blocked or any(problem.kind not in UNDERWAY for problem in blocked):
        return None
    if request.direction is Direction.DOWN:
        raise ConflictError(f"{base.id} is locked: {running(survey.holder)}", hint="run again when that is done")
    return replace(base, base=digest(survey.history), version=state.version, notes=(running(survey.holder),))


def remaining(
    planned: DatabasePlan, migrations: Sequence[Migration], history: History, out_of_order: bool
) -> tuple[Step, ...]:
    """Return the steps of the plan that are still to do, or raise StalePlanError.

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
    history: History,
    read_script: ReadScript,
    request: Request,
) -> DatabasePlan:
    state = reconcile(migrations, history, out_of_order=database.settings.out_of_order)
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
        base=digest(history),
        create=not history.exists and dialect(database.engine).creates and direction is Direction.UP,
        extensions=tuple(name for name in wanted if name not in history.extensions),
        version=state.version,
        adopt=state.adopt,
        forget=state.forget,
        pointer_stale=state.pointer_stale,
        steps=tuple(steps),
        notes=(
            *unrecorded(history, state, database.id),
            *state.notes,
            *_worth_knowing(state, direction, steps),
            *_of_sessions(database, [files[step.version].file(direction) for step in steps], read_script),
        ),
    )


def _worth_knowing(state: State, direction: Direction, steps: Sequence[Step]) -> Iterator[str]:
    """Yield what does not stop this direction and must not go unnoticed."""
    yield from (problem.what for problem in state.problems if direction not in problem.blocks)
    yield from (
        f"{step.path} holds no statement: only the record changes"
        for step in steps
        if step.path and not step.statements
    )


def _of_sessions(database: Database, found: Sequence[File | None], read_script: ReadScript) -> Iterator[str]:
    """Yield what to know of the sessions in which these files run."""
    scripts = [read_script(database, file) for file in found if file is not None]
    for script in scripts:
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
    """Return what goes down, highest first: exactly as many as asked for, or an error."""
    standing = sorted({*state.applied, *([state.partial.version] if state.partial else [])}, reverse=True)
    if request.steps is not None:
        if request.steps > len(standing):
            raise UsageError(
                f"{id} has {len(standing)} applied migration{'' if len(standing) == 1 else 's'}, not {request.steps}",
                hint="give the exact number, or --to 0 for all of them",
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
                hint="write the down file, or --allow-missing-down to take back the record alone"
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
    if partial is not None and (problem := _part_changed(file, partial, script)):
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


def held_against_file(
    state: State, database: Database, migrations: Sequence[Migration], read_script: ReadScript
) -> State:
    """Return the state as a plan will tell it: an attempt that stopped half way can go on only in the file that it began."""
    partial = state.partial
    file = next((m.file(partial.direction) for m in migrations if partial and m.version == partial.version), None)
    if partial is None or file is None:
        return state
    try:
        problem = _part_changed(file, partial, read_script(database, file))
    except InvalidGroup as group:
        problem = _unreadable(group.errors[0], partial)
    except InvalidError as error:
        problem = _unreadable(error, partial)
    if problem is None:
        return state
    problems: list[Problem] = []
    for known in state.problems:
        if known.kind in (Kind.PARTIAL, Kind.IN_FLIGHT) and known.version == partial.version:
            problems += [problem, replace(known, hint="", blocks=problem.blocks)]  # it does not go on so
        else:
            problems.append(known)
    return replace(state, problems=tuple(problems))


def _part_changed(file: File, partial: Attempt, script: Script) -> Problem | None:
    if resumable(partial, script):
        return None
    return Problem(
        Kind.EDITED,
        f"{file.path}: the part that already ran was changed (the first {partial.applied} of {partial.total} "
        f"statements; the next begins at line {_line_after(script, partial.applied)})",
        Hint("put that part back as it was; only what follows may be corrected. Or: ", Command("repair", NAME)),
        partial.version,
    )


def _unreadable(error: InvalidError, partial: Attempt) -> Problem:
    what = f"{error.where}: {error.what}" if error.where else error.what
    return Problem(
        Kind.EDITED, what, error.hint or "correct the file; what already ran must stay as it was", partial.version
    )


def _line_after(script: Script, count: int) -> int:
    """Return the line where the statement after the first `count` begins, or the line after the end."""
    rest = script.statements[count:]
    return rest[0].line if rest else script.text.rstrip().count("\n") + 2


def _conflict(id: str, blocked: Sequence[Problem]) -> OrchError:
    first = blocked[0]
    rest = "\n".join(f"also: {problem.what}" for problem in blocked[1:])
    return ConflictError(f"{id}: {first.what}", detail=rest, hint=first.hint_for(id))


def _no_such_version(id: str, version: int, migrations: Sequence[Migration]) -> UsageError:
    known = ", ".join(str(migration.version) for migration in migrations[-10:])
    return UsageError(f"{id} has no migration with version {version}", hint=f"there are: {known or 'none'}")


def _plain(value: Any) -> Any:
    if isinstance(value, Direction):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
