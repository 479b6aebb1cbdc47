"""`orch lint --trace`: run pending files in a scratch database, and compare what they did with what the rules say.

The scratch database is made beside the real one, which is only asked which files are pending, and dropped in the end.
Its tables have no rows but those that migrations insert: locks, rewrites and reads are the same, times are not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from orchestrator.analysis.findings import Finding, Story
from orchestrator.analysis.measured import Compared, compare
from orchestrator.engines import dialect
from orchestrator.engines.base import Limits, Reach, Session
from orchestrator.errors import InvalidError, OrchError
from orchestrator.events import DatabaseFailed, Event, Failure
from orchestrator.execution.executor import Executor
from orchestrator.execution.reading import plan_of
from orchestrator.execution.run import Run
from orchestrator.execution.survey import survey
from orchestrator.hints import Command, Hint
from orchestrator.model import Direction, Migration, Statement
from orchestrator.planning.plan import Request
from orchestrator.scratch.clone_names import clone_name
from orchestrator.scratch.clones import Cloner
from orchestrator.scratch.confine import UP, confined, reaching


@dataclass(frozen=True, slots=True)
class Traced:
    """The traced statements of one database. `failure` says why tracing failed or stopped."""

    database: str
    statements: tuple[Compared, ...] = ()
    failure: Failure | None = None


def trace(run: Run, *, since: int | None = None, version: int = 0) -> list[Traced]:
    """Trace the files after `since`, or those that are pending, of all databases of a run; `version` is for the rules."""
    found = []
    pending: dict[str, tuple[int, ...]] = {} if since is not None else _pending(run)
    for id, migrations in run.catalogs.items():
        database = run.databases[id]
        if not dialect(database.engine).tracer:
            what = f"{dialect(database.engine).title} cannot be traced: it keeps no locks of tables until a commit"
            hint = Hint(Command("lint", id), " judges its files all the same")
            found.append(Traced(id, failure=Failure("usage", 2, what, hint=hint)))
            continue
        ahead = [
            m for m in migrations if m.up and (m.version > since if since is not None else m.version in pending[id])
        ]
        if not ahead:
            found.append(Traced(id))
            continue
        before = [m for m in migrations if m not in ahead and m.version < ahead[-1].version]
        statements: list[Compared] = []
        try:
            for compared in _Scratch(run, id, version).compared(before, ahead):
                statements.append(compared)
        except OrchError as error:
            found.append(Traced(id, tuple(statements), Failure.of(error, run.redact)))
            continue
        found.append(Traced(id, tuple(statements)))
    return found


def _pending(run: Run) -> dict[str, tuple[int, ...]]:
    """Return the versions that are not applied in the real databases: all, if a database does not exist."""
    surveys = survey(run)
    pending = {}
    for id, one in surveys.items():
        if one.failure and one.failure.kind != "database_missing":
            raise OrchError(
                f"{id}: {one.failure.what}", detail=one.failure.detail, hint="--since VERSION asks no database"
            )
        pending[id] = one.state.pending
    return pending


class _Scratch:
    """One scratch database for the files of one database."""

    def __init__(self, run: Run, id: str, version: int) -> None:
        self._run, self._id = run, id
        self._story = Story(version=version)

    def compared(self, before: Sequence[Migration], ahead: Sequence[Migration]) -> Iterator[Compared]:
        """Run the files `before`, then yield each statement of the files `ahead` with what it did."""
        name = clone_name(os.getpid())
        for _, beyond in reaching(self._run, self._id, [*before, *ahead], UP, name):
            if beyond.reach is not Reach.MAY:  # it would act on the real server
                what = f"this cannot be traced, for it reaches beyond its database: {beyond.what}"
                raise InvalidError(what, where=beyond.where)
        cloner = Cloner(self._run)
        cloner.drop_left_behind([self._id])
        run = confined(self._run, self._id, name, [*before, *ahead])
        try:
            self._apply(replace(run, catalogs={self._id: tuple(before)}))
            yield from self._files(run, before, ahead)
        finally:
            cloner.drop(self._id, name)

    def _files(self, run: Run, before: Sequence[Migration], ahead: Sequence[Migration]) -> Iterator[Compared]:
        database = run.databases[self._id]
        if not (tracing := dialect(database.engine).tracing):
            return
        for migration in before:
            if migration.up is not None:
                self._story.past(run.read_script(database, migration.up))
        old: set[int] | None = None
        for migration in ahead:
            if migration.up is None:
                continue
            script = run.read_script(database, migration.up)
            told = self._story.judge(script)
            self._ask(run, script.checks.before)
            with self._session(run) as session, self._session(run) as watcher:
                old = tracing.tables(watcher) if old is None else old
                for measured in tracing.trace(session, watcher, script, old):
                    statement = script.statements[measured.statement]
                    mine: list[Finding] = [finding for finding in told if finding.statement == measured.statement]
                    measured = measured._replace(error=run.redact(measured.error))
                    source = run.redact(" ".join(statement.source.split()))
                    yield compare(migration.up.path, statement.line, source, measured, mine)
                    if measured.error:
                        return
            self._ask(run, script.checks.after)

    def _ask(self, run: Run, checks: Sequence[Statement]) -> None:
        """Ask the checks of a file in the scratch database; OrchError with its place for one that is not met."""
        for check in checks:
            with self._session(run) as session:
                session.ask(check, Limits())

    def _session(self, run: Run) -> AbstractContextManager[Session]:
        target = run.targets[self._id]
        return run.engines[target.engine].connect(target)

    def _apply(self, run: Run) -> None:
        failures: list[Failure] = []

        def sink(event: Event) -> None:
            if isinstance(event, DatabaseFailed):
                failures.append(event.failure)

        run = replace(run, sink=sink)
        databases = tuple(run.databases.values())
        plan = plan_of(run, databases, survey(run, keep=True), Request(Direction.UP))
        Executor(run, plan).execute()
        if failures:
            first = failures[0]
            raise OrchError(f"a file before the pending ones fails: {first.what}", detail=first.detail, hint=first.hint)
