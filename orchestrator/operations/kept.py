"""What the history keeps of the text of files: show it, compare it with a file, and roll back where the file is gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import unified_diff
from pathlib import Path

from orchestrator.engines import dialect
from orchestrator.engines.base import Session
from orchestrator.errors import ConflictError, OrchError, UsageError
from orchestrator.events import Failure, Notice, Sink
from orchestrator.execution.run import Run
from orchestrator.hints import Command, Hint
from orchestrator.model import Attempt, Database, File, History, Migration
from orchestrator.operations.assembly import Assembly
from orchestrator.operations.scope import Scope, the_one
from orchestrator.planning.catalog import read_text
from orchestrator.planning.history import reconcile
from orchestrator.planning.kept import of_what_is_applied, text_checksum, unpack
from orchestrator.planning.plan import Request
from orchestrator.planning.problems import Kind
from orchestrator.planning.surveys import Survey
from orchestrator.records import dataclass, replace

_MAX_DIFF_LINES = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """The texts that are kept of one attempt, without secrets, by direction."""

    id: str
    attempt: Attempt
    ways: Mapping[str, str]


def texts(scope: Scope, sink: Sink, name: str, version: int) -> Shown:
    """Return what the history keeps of a version, of its newest attempt of which it keeps something; UsageError if nothing."""
    assembly = replace(scope, only=[name], no_deps=True).assemble()
    id = the_one(assembly, name)
    run = scope.run(assembly, sink)
    with run.engines[run.targets[id].engine].connect(run.targets[id]) as session:
        history = session.read_history()
        stored = session.kept_texts(version)
    attempts = [one for one in history.attempts if (one.version, one.number) in stored]
    if not attempts:
        if not any(one.version == version for one in history.attempts):
            raise UsageError(f"the history of {id} has no version {version}", hint=Hint(Command("history", id)))
        hint = "a text is kept when its file runs, unless the manifest says keep_text: false; those of very long files are not"
        raise UsageError(f"the history of {id} keeps no text of version {version}", hint=hint)
    newest = max(attempts, key=lambda one: one.number)
    try:
        kept = unpack(stored[version, newest.number])
    except ValueError as error:
        raise ConflictError(f"{id}, version {version}: the kept text cannot be shown: {error}") from None
    ways = {way: run.redact(text) for way, text in kept._asdict().items() if text is not None}
    return Shown(id, newest, ways)


def edits(session: Session, history: History, migrations: Iterable[Migration]) -> dict[int, str]:
    """Return how the up files of applied versions differ from what ran, as a unified diff, where the history keeps that."""
    state = reconcile(tuple(migrations), history, out_of_order=True)
    edited = [problem.version for problem in state.problems if problem.kind is Kind.EDITED]
    files = {migration.version: migration.up for migration in migrations}
    found: dict[int, str] = {}
    for version in edited:
        file = files.get(version) if version is not None else None
        if version is None or file is None:
            continue
        try:
            _, kept = of_what_is_applied(version, history.attempts, session.kept_texts(version))
            now = read_text(file)
        except (ValueError, OrchError):
            continue
        before = (kept.up or "").replace("\r\n", "\n").splitlines()
        lines = list(unified_diff(before, now.splitlines(), "what ran", file.path, lineterm=""))
        more = len(lines) - _MAX_DIFF_LINES
        found[version] = "\n".join([*lines[:_MAX_DIFF_LINES], *([f"… {more:,} more lines"] if more > 0 else [])])
    return found


def with_kept_files(
    assembly: Assembly, run: Run, surveys: Mapping[str, Survey], request: Request
) -> tuple[Run, dict[str, Survey]]:
    """Return the run and its surveys for a rollback that takes the texts of missing files from the history.

    If a kept text cannot be trusted, or its file was edited after it ran, that is a failure of its database.
    """
    catalogs, seen = dict(run.catalogs), dict(surveys)
    for id, survey in surveys.items():
        lacking = _lacking(catalogs[id], survey, request)
        if not lacking:
            continue
        database, target = run.databases[id], run.targets[id]
        files = {migration.version: migration for migration in catalogs[id]}
        try:
            with run.engines[target.engine].connect(target) as session:
                stored = session.kept_texts()
            for version in lacking:
                if not any(key[0] == version for key in stored):
                    continue
                made = _kept_migration(assembly, database, version, survey.history, stored, files.get(version))
                if made.down is not None:
                    files[version] = made
                    what = f"the down file of version {version} is not here: the text that the history keeps is used"
                    run.sink(Notice(id, what))
        except OrchError as error:
            seen[id] = replace(survey, failure=Failure.of(error, run.redact))
        catalogs[id] = tuple(files[version] for version in sorted(files))
        state = reconcile(catalogs[id], survey.history, out_of_order=database.settings.out_of_order)
        seen[id] = replace(seen[id], state=state)
    return replace(run, catalogs=catalogs), seen


def _lacking(migrations: Iterable[Migration], survey: Survey, request: Request) -> list[int]:
    """Return the versions that would go down and have no down file, highest first."""
    if survey.failure or request.allow_missing_down:
        return []
    state = survey.state
    standing = sorted({*state.applied, *([state.partial.version] if state.partial else [])}, reverse=True)
    chosen = standing[: request.steps] if request.steps is not None else [v for v in standing if v > (request.to or 0)]
    have = {migration.version for migration in migrations if migration.down is not None}
    return [version for version in chosen if version not in have]


def _kept_migration(
    assembly: Assembly,
    database: Database,
    version: int,
    history: History,
    stored: Mapping[tuple[int, int], str],
    here: Migration | None,
) -> Migration:
    """Return a migration whose files are the kept texts; ConflictError if these are not those of what is applied."""
    try:
        attempt, kept = of_what_is_applied(version, history.attempts, stored)
        if here is not None and here.up is not None and here.up.checksum != attempt.checksum:
            raise ValueError("its file here is not the one that ran")  # noqa: TRY301 - one way to tell
    except ValueError as error:
        raise ConflictError(
            f"{database.id} cannot be rolled back past version {version}: its down file is not here, and the text that the "
            f"history keeps cannot be used: {error}",
            hint="roll back with a release that has the files of this version",
        ) from None
    extension = dialect(database.engine).extensions[0]
    made: list[File | None] = []
    for way, text in (("up", kept.up), ("down", kept.down)):
        if text is None:
            made.append(None)
            continue
        name = f"{version:06d}_{attempt.name}.{way}.{extension}"
        file = File(f"history of {database.id}: {name}", Path(name), text_checksum(text))
        assembly.hold(database, file, text)
        made.append(file)
    return Migration(version, attempt.name, made[0], made[1])
