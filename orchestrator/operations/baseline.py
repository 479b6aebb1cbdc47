"""Mark existing migrations of a database as applied without running them."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.events import Sink
from orchestrator.operations.recording import Recording, look_at_one, of_one
from orchestrator.operations.scope import Scope
from orchestrator.planning.repair import baseline


def prepare(scope: Scope, sink: Sink, name: str, version: int, reason: str = "") -> Recording:
    """Return the recording that marks everything up to a version as applied.

    ConflictError if the database has a history already, UsageError for a version that has no migration.
    """
    looked, id = look_at_one(replace(scope, only=[name], no_deps=True), sink, name)
    by = looked.signature(reason)
    return of_one(looked, id, lambda history: baseline(id, looked.migrations(id), history, version, by))
