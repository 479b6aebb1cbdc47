"""Which migrations a plan takes up or down: a pure function of files and of what was found on the servers.

The files of these migrations are read next, and then `planner` makes the plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.errors import ConflictError, OrchError, UsageError
from orchestrator.events import Failure
from orchestrator.hints import Command, Hint
from orchestrator.model import Database, Direction, File, Migration
from orchestrator.planning.half_done import UNDERWAY
from orchestrator.planning.history import State
from orchestrator.planning.plan import DatabasePlan, Request
from orchestrator.planning.problems import Kind, Problem
from orchestrator.planning.surveys import Survey, running
from orchestrator.records import NamedTuple, replace


class Chosen(NamedTuple):
    """A database with the migrations that its plan takes up or down, in the order in which they run."""

    base: DatabasePlan
    database: Database
    survey: Survey
    migrations: tuple[Migration, ...]

    @property
    def id(self) -> str:
        """The id of the database."""
        return self.database.id


class Draft(NamedTuple):
    """What is decided before any file is read: of each database its migrations, or its plan if it has none to run."""

    request: Request
    databases: tuple[Chosen | DatabasePlan, ...]

    def files(self) -> Iterator[tuple[str, list[File]]]:
        """Yield each database with the files that must be read to make its plan."""
        for one in self.databases:
            files = [m.file(self.request.direction) for m in one.migrations] if isinstance(one, Chosen) else []
            yield one.id, [file for file in files if file]


def choose(
    databases: Sequence[Database],
    catalogs: Mapping[str, Sequence[Migration]],
    surveys: Mapping[str, Survey],
    request: Request,
) -> Draft:
    """Return which migrations are to run on these databases, given in an order that respects their dependencies.

    Raises UsageError for a version that does not exist. What is wrong with one database only becomes its `failure`.
    """
    found: list[Chosen | DatabasePlan] = []
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
            found.append(replace(base, failure=survey.failure))
            continue
        try:
            found.append(_choose(base, database, catalogs[database.id], survey, request))
        except UsageError:
            raise
        except OrchError as error:
            found.append(replace(base, failure=Failure.of(error, str)))
    return Draft(request, tuple(found))


def _choose(
    base: DatabasePlan, database: Database, migrations: Sequence[Migration], survey: Survey, request: Request
) -> Chosen | DatabasePlan:
    if request.direction is Direction.UP and (refused := survey.refused(database.id)):
        raise refused
    if busy := _underway(base, survey, request):
        return busy
    state = survey.state
    if blocked := state.blocked(request.direction):
        raise _conflict(database.id, blocked)
    versions = (_up_versions if request.direction is Direction.UP else _down_versions)(
        database.id, migrations, state, request
    )
    if not versions:
        return Chosen(base, database, survey, ())
    files = {migration.version: migration for migration in migrations}
    return Chosen(base, database, survey, tuple(files[version] for version in versions))


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


def _conflict(id: str, blocked: Sequence[Problem]) -> OrchError:
    first = blocked[0]
    rest = "\n".join(f"also: {problem.what}" for problem in blocked[1:])
    return ConflictError(f"{id}: {first.what}", detail=rest, hint=first.hint_for(id))


def _no_such_version(id: str, version: int, migrations: Sequence[Migration]) -> UsageError:
    known = ", ".join(str(migration.version) for migration in migrations[-10:])
    return UsageError(f"{id} has no migration with version {version}", hint=f"there are: {known or 'none'}")
