"""Collect all that is known of an estate for `orch report`: states, histories, plans, schemas. Changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.analysis.drift import checksum
from orchestrator.analysis.tables import Schema, schema_of
from orchestrator.errors import exit_code_of
from orchestrator.events import MAX_WHAT, Failure, Sink
from orchestrator.execution.reading import plan_of
from orchestrator.execution.run import Run
from orchestrator.execution.scheduler import walk
from orchestrator.model import Attempt, Direction, Migration, SchemaObject, SchemaSnapshot
from orchestrator.operations.plan import Planned
from orchestrator.operations.scope import Scope
from orchestrator.operations.status import surveyed
from orchestrator.planning.plan import DatabasePlan, Request, Step
from orchestrator.planning.status import FAILED, DatabaseStatus, Status
from orchestrator.secret import hidden

if TYPE_CHECKING:
    from orchestrator.analysis.risks import Risk


@dataclass(frozen=True, slots=True)
class ReportedMigration:
    """A version of a database: `step` and `risks` where a plan would run it now; `name` is '' where no file is left."""

    version: int
    name: str
    state: str
    step: Step | None = None
    risks: tuple[Risk, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportedDatabase:
    """One database. `schema` is a key of `Report.schemas`; '' if it was not read, for the reason in `no_schema`."""

    status: DatabaseStatus
    depends_on: tuple[str, ...]
    labels: tuple[str, ...]
    migrations: tuple[ReportedMigration, ...]
    attempts: tuple[Attempt, ...] = ()
    schema: str = ""
    no_schema: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The estate at one moment. Databases with the same schema share one entry of `schemas`."""

    name: str
    made_at: datetime
    databases: tuple[ReportedDatabase, ...]
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    tool: str = __version__

    @property
    def failures(self) -> tuple[tuple[str, Failure], ...]:
        """Which databases could not be read, and why."""
        return Status(tuple(one.status for one in self.databases)).failures

    @property
    def exit_code(self) -> int:
        """0, or that of the databases that could not be read."""
        return exit_code_of(failure.exit_code for _, failure in self.failures)


def report(scope: Scope, sink: Sink) -> Report:
    """Look at the chosen databases and return all that a report shows of them. One that cannot be read has a failure.

    InvalidError for a manifest, files or DSNs that are wrong, UsageError for names that mean nothing.
    """
    assembly = scope.assemble()
    run = scope.run(assembly, sink)
    made_at = datetime.now(UTC)
    status, surveys = surveyed(scope, assembly, run, whole=True)
    plan = plan_of(run, assembly.databases, surveys, Request(Direction.UP))
    planned = {one.id: one for one in plan.databases}
    risks = Planned(run, plan).risks
    schemas = _Schemas(run)
    schemas.read([one.id for one in status.databases if one.exists and not one.running and not one.failure])
    chosen = {one.id for one in status.databases}
    databases = tuple(
        ReportedDatabase(
            one,
            tuple(need for need in database.depends_on if need in chosen),
            database.labels,
            _migrations(
                run.catalogs[one.id], one, planned[one.id], risks.get(one.id, ()), surveys[one.id].history.attempts
            ),
            tuple(attempt._replace(error=run.redact(attempt.error)) for attempt in surveys[one.id].history.attempts),
            schemas.of.get(one.id, ""),
            "it is being migrated" if one.running else schemas.unknown.get(one.id, ""),
        )
        for one, database in zip(status.databases, assembly.databases, strict=True)
    )
    return Report(assembly.manifest.path.absolute().parent.name, made_at, databases, schemas.found)


def _migrations(
    catalog: Sequence[Migration],
    status: DatabaseStatus,
    plan: DatabasePlan,
    risks: Sequence[Risk],
    attempts: Sequence[Attempt],
) -> tuple[ReportedMigration, ...]:
    """Return every version that there is a file, a record or an attempt of, in order."""
    names = {attempt.version: attempt.name for attempt in attempts} | {one.version: one.name for one in catalog}
    applied, pending, failed = set(status.applied), set(status.pending), {one.version for one in status.failed}
    steps = {step.version: step for step in plan.steps}

    def one(version: int) -> ReportedMigration:
        state = "applied" if version in applied else "pending" if version in pending else "not applied"
        if version in failed:
            state = FAILED
        step = steps.get(version)
        found = tuple(risk for risk in risks if step and risk.where.path == step.path)
        return ReportedMigration(version, names.get(version, ""), state, step, found)

    return tuple(map(one, sorted({*names, *applied, *pending})))


class _Schemas:
    """Reads the schemas of databases, several at a time, and keeps each one once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._mutex = threading.Lock()
        self.of: dict[str, str] = {}
        self.unknown: dict[str, str] = {}
        self.found: dict[str, Schema] = {}

    def read(self, ids: Sequence[str]) -> None:
        run = self._run
        walk(
            dict.fromkeys(ids, ()),
            self._one,
            server_of=run.server_of,
            jobs=run.jobs,
            jobs_per_server=run.jobs_per_server,
            stop=run.stop,
            abandon=True,  # it only reads
        )

    def _one(self, id: str) -> bool:
        run = self._run
        target = run.targets[id]
        try:
            with run.engines[target.engine].connect(target) as session:
                snapshot = session.schema_snapshot()
            key = checksum(snapshot)[:16]
            with self._mutex:
                known = key in self.found
            schema = None if known else schema_of(self._redacted(snapshot))
            with self._mutex:
                self.of[id] = key
                if schema is not None:
                    self.found[key] = schema
        except Exception as error:  # noqa: BLE001 - one database's trouble is data, whatever it is
            self.unknown[id] = Failure.of(error, run.redact).what
        return True

    def _redacted(self, snapshot: SchemaSnapshot) -> SchemaSnapshot:
        """Return a snapshot without secrets, in which no definition is longer than a page can show."""
        redact = self._run.redact
        return {
            SchemaObject(one.kind, redact(one.name), redact(one.of)): hidden(definition, MAX_WHAT, redact)
            for one, definition in snapshot.items()
        }
