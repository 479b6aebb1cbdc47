"""Find version, pending migrations and problems of every database. Changes nothing."""

from __future__ import annotations

from orchestrator.events import Sink
from orchestrator.execution.survey import survey
from orchestrator.operations.scope import Scope
from orchestrator.planning.status import Status, status_of


def status(scope: Scope, sink: Sink, *, close: bool = False) -> Status:
    """Look at the chosen databases and return where they stand. A database that cannot be read has a failure.

    InvalidError for a manifest, files or DSNs that are wrong, UsageError for names that mean nothing. `sink` is told when
    a server is waited for. With `close` nothing stays connected, for a process that goes on.
    """
    assembly = scope.assemble()
    run = scope.run(assembly, sink)
    outside = None
    if not scope.embedded and not scope.no_deps and any(one.external for one in assembly.databases):
        from orchestrator.operations.external import watch

        outside = watch(run, assembly)
    try:
        surveys = survey(run)
    finally:
        if close:
            run.close()
    if assembly.manifest.fleets and not scope.only and not scope.embedded:
        from orchestrator.operations.fleets import tell_vanished

        tell_vanished(run, assembly)
    found = tuple(status_of(d, run.catalogs[d.id], surveys[d.id], run.read_script) for d in assembly.databases)
    return Status(tuple(map(outside.told, found)) if outside else found)
