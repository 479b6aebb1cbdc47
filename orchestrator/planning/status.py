"""The status of a database: version, pending migrations, problems, and one word for all of that. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from orchestrator.engines import dialect
from orchestrator.errors import ExitCode, exit_code_of
from orchestrator.events import Failure
from orchestrator.hints import Command, Hint
from orchestrator.model import Attempt, Database, Direction, LockHolder, Migration
from orchestrator.planning.half_done import UNDERWAY, held_against_file
from orchestrator.planning.history import State, unrecorded
from orchestrator.planning.listing import APPLIED, Listed, listed
from orchestrator.planning.scripts import Scripts
from orchestrator.planning.surveys import Survey, running
from orchestrator.records import dataclass, field, replace

UP_TO_DATE, PENDING, RUNNING, MISSING = "up to date", "pending", "running", "to be created"
FAILED = "failed"
"""Its last try left nothing behind: the migration is still pending, and nothing is in the way of another try."""


@dataclass(frozen=True, slots=True)
class StatusProblem:
    """What is wrong with a database, what to do next, and which directions it blocks."""

    kind: str
    what: str
    hint: str
    blocks: tuple[Direction, ...]
    version: int | None = None


@dataclass(frozen=True, slots=True)
class FailedTry:
    """Why a version is still pending: what its last try said, and what to do next."""

    version: int
    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class ExternalStatus:
    """A database of another manifest that a database needs, and what it still lacks, '' if nothing."""

    manifest: str
    id: str
    waits_for: str

    def __str__(self) -> str:
        return f"waits for {self.id} of {self.manifest}: {self.waits_for}"


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """Where one database stands. `endpoint` is its server, `database` its name there.

    With a `failure` it could not be read: then `exists` and `dirty` are None. `state` is one of the words above, or the
    kind of the first problem. `group` is that of its fleet. `exit_code` is what this database alone would make the exit
    code of `orch status`.
    `migrations` lists each one of a database that was asked for by its name.
    """

    id: str
    engine: str
    name: str
    endpoint: str
    database: str
    state: str
    exists: bool | None = None
    version: int | None = None
    dirty: bool | None = None
    applied: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()
    problems: tuple[StatusProblem, ...] = ()
    notes: tuple[str, ...] = ()
    running: LockHolder | None = None
    failure: Failure | None = None
    exit_code: int = 0
    external: tuple[ExternalStatus, ...] = ()
    migrations: tuple[Listed, ...] = ()
    group: str = ""
    failed: tuple[FailedTry, ...] = ()

    @property
    def running_since(self) -> datetime | None:
        """Since when the migration that runs now holds the lock, if the server tells that."""
        return self.running.since if self.running else None


@dataclass(frozen=True, slots=True)
class Status:
    """Where all chosen databases stand, in an order that respects their dependencies."""

    databases: tuple[DatabaseStatus, ...]
    counts: tuple[tuple[str, int], ...] = field(init=False)
    """How many are up to date, running, pending (also: to be created), failed and with problems."""

    def __post_init__(self) -> None:
        states = [one.state for one in self.databases]
        problems = sum(bool(one.problems) for one in self.databases)
        resting, active, failed = map(states.count, (UP_TO_DATE, RUNNING, FAILED))
        pending = len(states) - resting - active - failed - problems
        counts = (
            (UP_TO_DATE, resting),
            (RUNNING, active),
            (PENDING, pending),
            (FAILED, failed),
            ("with problems", problems),
        )
        object.__setattr__(self, "counts", counts)

    def narrowed(self, *, pending: bool = False, problems: bool = False) -> Status:
        """Return the databases with something pending, or with problems or failed tries (with both, either).

        Of lists of migrations, what is pending.
        """
        if not (pending or problems):
            return self
        kept = [
            one for one in self.databases if (pending and one.pending) or (problems and (one.problems or one.failed))
        ]
        if pending and not problems:
            kept = [
                replace(one, migrations=tuple(each for each in one.migrations if each.state != APPLIED)) for one in kept
            ]
        return Status(tuple(kept))

    @property
    def failures(self) -> tuple[tuple[str, Failure], ...]:
        """Return which databases could not be read, and why."""
        return tuple((one.id, one.failure) for one in self.databases if one.failure)

    @property
    def exit_code(self) -> int:
        """Return the exit code: 5 if something blocks a migration, that of the failures if databases cannot be read."""
        return exit_code_of(one.exit_code for one in self.databases)


def status_of(
    database: Database,
    migrations: Sequence[Migration],
    survey: Survey,
    scripts: Scripts,
    *,
    one_by_one: bool = False,
) -> DatabaseStatus:
    """Return where a database stands by what was found on its server.

    `scripts` has the file in which an attempt stopped half way, if there is one. `one_by_one`: with the list of its migrations.
    """
    names = (database.id, database.engine, database.name, survey.endpoint, survey.name)
    group = database.fleet.group if database.fleet else ""
    if survey.failure:
        failure = survey.failure
        problem = StatusProblem(failure.kind, failure.what, failure.hint, (Direction.UP, Direction.DOWN))
        return DatabaseStatus(
            *names,
            _word(failure.kind),
            problems=(problem,),
            failure=failure,
            exit_code=failure.exit_code,
            group=group,
        )
    history = survey.history
    state = held_against_file(survey.state, database.id, migrations, scripts)
    active = survey.holder if survey.holder and survey.holder.running else None
    if active:
        state = replace(state, failed=())  # another try is at work
    problems = _problems(database, state, during_run=active is not None)
    code = int(ExitCode.CONFLICT) if any(problem.blocks for problem in problems) else 0
    if refused := survey.refused(database.id):  # then that is the problem, whatever else there is
        what = refused.what.removeprefix(f"{database.id}: ")  # a status tells the name before
        problems.insert(0, StatusProblem(refused.kind, what, refused.hint, (Direction.UP,)))
        code = int(refused.exit_code)
    # Left dirty by golang-migrate, before we knew of the database: then all there is to tell is what the version table says.
    version = state.version if state.applied or history.version_row is None else history.version_row.version
    notes = [
        *([running(survey.holder)] if survey.holder else []),
        *unrecorded(history, state, database.id),
        *state.notes,
        *_golang_migrate(state.adopt, state.forget),
    ]
    return DatabaseStatus(
        *names,
        _state(database, survey, state, problems),
        history.exists,
        version,
        state.dirty,
        tuple(state.applied),
        tuple(state.pending),
        tuple(problems),
        tuple(notes),
        active,
        exit_code=code,
        migrations=listed(migrations, state, history.attempts) if one_by_one else (),
        group=group,
        failed=tuple(_failed_try(one, database.id) for one in state.failed),
    )


def _problems(database: Database, state: State, *, during_run: bool) -> list[StatusProblem]:
    """Return what is wrong; while a run is at work, being half way through a file is no problem."""
    return [
        StatusProblem(problem.kind.value, problem.what, problem.hint_for(database.id), problem.blocks, problem.version)
        for problem in state.problems
        if not (during_run and problem.kind in UNDERWAY)
    ]


def _state(database: Database, survey: Survey, state: State, problems: Sequence[StatusProblem]) -> str:
    if problems:
        return _word(problems[0].kind)
    if survey.holder and survey.holder.running:
        return RUNNING
    if not survey.history.exists and (state.pending or dialect(database.engine).creates):
        return MISSING
    return FAILED if state.failed else PENDING if state.pending else UP_TO_DATE


def _word(kind: str) -> str:
    return kind.replace("_", " ")


def _golang_migrate(adopt: Sequence[int], forget: Sequence[int]) -> list[str]:
    notes = []
    if adopt:
        notes.append(f"golang-migrate applied {', '.join(map(str, adopt))}; the next apply adopts that")
    if forget:
        notes.append(f"golang-migrate rolled back {', '.join(map(str, forget))}; the next apply records this")
    return notes


def _failed_try(one: Attempt, id: str) -> FailedTry:
    when = f" on {one.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if one.started_at else ""
    hint = Hint("fix the cause, then run: ", Command("apply", "--only", id))
    return FailedTry(one.version, f"the last try of version {one.version} failed{when}: {one.error}", hint)
