"""Whether databases are migrated, asked again and again by those that wait for them. Only reads."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.engines import dialect, load_engine
from orchestrator.errors import ConflictError, ExitCode, OrchError, UsageError
from orchestrator.events import Failure
from orchestrator.execution.run import Run
from orchestrator.execution.survey import survey
from orchestrator.model import Database, Direction, Migration
from orchestrator.planning.half_done import UNDERWAY
from orchestrator.planning.problems import Kind
from orchestrator.planning.squash import holds, replaced_by, stands_for
from orchestrator.planning.surveys import Survey
from orchestrator.records import replace


def look(run: Run) -> dict[str, Survey]:
    """Look with fresh engines: one remembers, for its own run, which databases there are."""
    engines = {name: load_engine(name, run.actor, run.run_id) for name in run.engines}
    try:
        return survey(replace(run, engines=engines), reads=True)
    finally:
        for engine in engines.values():
            engine.close()


def missing_in(
    database: Database, migrations: Sequence[Migration], survey: Survey, version: int | None, over: bool
) -> str:
    """Return what is still to come, or nothing; what waiting cannot mend is raised."""
    if survey.failure is not None:
        return _trouble(database.id, survey.failure, over)
    known = version is None or any(m.version == version or holds(m.replaces, version) for m in migrations)
    if not survey.history.exists and known and (migrations or dialect(database.engine).creates):
        return "does not exist yet"
    state = survey.state
    believed = not any(problem.kind in (Kind.ELSEWHERE, Kind.SEVERAL_ROWS) for problem in state.problems)
    replaced = {migration.version: migration.replaces for migration in migrations if migration.replaces}
    if version is not None and stands_for(replaced, version, state.applied) and believed:
        return ""
    if not known:
        raise UsageError(f"{database.id} has no migration {version}", hint="its files are what is waited for")
    # A run at work looks like a run that stopped half way. It may still finish, so these problems do not end the wait.
    for problem in state.blocked(Direction.UP):
        begun = problem.kind is Kind.MISSING and state.partial is not None and problem.version == state.partial.version
        if problem.kind not in UNDERWAY and not begun:
            raise ConflictError(f"{database.id}: {problem.what}", hint=problem.hint_for(database.id))
    upto = version if version is None or version in state.pending else replaced_by(replaced, version) or version
    waited_for = [v for v in state.pending if upto is None or v <= upto]
    if not waited_for:
        return next((problem.what for problem in state.problems if problem.kind in UNDERWAY), "")
    done = f"at version {state.version}" if state.version is not None else "nothing applied yet"
    return f"{done}, {len(waited_for)} pending"


def _trouble(id: str, failure: Failure, over: bool) -> str:
    """Return why a database could not be read before the time was over; what only a person can mend is raised."""
    if over:
        return failure.what
    owner = "" if failure.what.startswith(f"{id}: ") else f"{id}: "
    error = OrchError(f"{owner}{failure.what}", detail=failure.detail, hint=failure.hint)
    error.exit_code, error.kind = ExitCode(failure.exit_code), failure.kind
    raise error
