"""Find version, pending migrations and problems of every database. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.events import Sink
from orchestrator.execution.reading import plan_of, read_half_done
from orchestrator.execution.run import Run
from orchestrator.execution.survey import survey
from orchestrator.operations.assembly import Assembly
from orchestrator.operations.scope import Scope
from orchestrator.planning.listing import Listed
from orchestrator.planning.status import DatabaseStatus, Status, status_of
from orchestrator.planning.surveys import Survey
from orchestrator.records import replace


def status(scope: Scope, sink: Sink, *, close: bool = False, one_by_one: bool = False) -> Status:
    """Look at the chosen databases and return where they stand. A database that cannot be read has a failure.

    InvalidError for a manifest, files or DSNs that are wrong, UsageError for names that mean nothing. `sink` is told when
    a server is waited for. With `close` nothing stays connected, for a process that goes on. `one_by_one`: each database
    comes with the list of its migrations, and the pending ones with their risks.
    """
    assembly = scope.assemble()
    run = scope.run(assembly, sink)
    try:
        found, surveys = surveyed(scope, assembly, run, one_by_one=one_by_one)
    finally:
        if close:
            run.close()
    if not one_by_one:
        return found
    return replace(found, databases=_with_risks(run, assembly, surveys, found.databases))


def surveyed(
    scope: Scope, assembly: Assembly, run: Run, *, one_by_one: bool = False, whole: bool = False
) -> tuple[Status, Mapping[str, Survey]]:
    """Return where the databases of a run stand, and what was found on their servers; `whole`: with all attempts."""
    outside = None
    if not scope.embedded and not scope.no_deps and any(one.external for one in assembly.databases):
        from orchestrator.operations.external import watch

        outside = watch(run, assembly)
    surveys = survey(run, whole=whole or one_by_one)
    if assembly.manifest.fleets and not scope.only and not scope.embedded:
        from orchestrator.operations.fleets import tell_vanished

        tell_vanished(run, assembly)
    half_done = read_half_done(run, {id: one.state for id, one in surveys.items() if one.failure is None})
    found = tuple(
        status_of(d, run.catalogs[d.id], surveys[d.id], half_done, one_by_one=one_by_one) for d in assembly.databases
    )
    return Status(tuple(map(outside.told, found)) if outside else found), surveys


def _with_risks(
    run: Run, assembly: Assembly, surveys: Mapping[str, Survey], found: Sequence[DatabaseStatus]
) -> tuple[DatabaseStatus, ...]:
    """Return the databases with what is risky in their pending migrations."""
    from orchestrator.model import Direction
    from orchestrator.operations.risks import risks_of
    from orchestrator.planning.plan import Request

    plan = plan_of(run, assembly.databases, surveys, Request(Direction.UP))
    risks = risks_of(run, plan)
    paths = {(one.id, step.path): step.version for one in plan.databases for step in one.steps}
    told: dict[tuple[str, int], list[str]] = {}
    for id, dangers in risks.items():
        for risk in dangers:
            if (version := paths.get((id, risk.where.path))) is not None:
                told.setdefault((id, version), []).append(risk.what)

    def complete(id: str, one: Listed) -> Listed:
        return replace(one, risks=tuple(dict.fromkeys(told.get((id, one.version), ()))))

    return tuple(replace(one, migrations=tuple(complete(one.id, each) for each in one.migrations)) for one in found)
