"""Run pending migrations in a scratch database, and compare what they do with what the lint rules say of them."""

from __future__ import annotations

from orchestrator.events import Sink
from orchestrator.operations.scope import Scope
from orchestrator.scratch.trace import Traced, trace

__all__ = ["Traced", "trace_files"]


def trace_files(
    scope: Scope, sink: Sink, *, since: int | None = None, server_version: int | None = None
) -> list[Traced]:
    """Trace the up files after version `since`, or without it the pending ones. The real databases stay as they are.

    `server_version` is a major version that goes before that of the manifest when the rules judge. Return an entry for
    each database; its `failure` says why it could not be traced to its end. InvalidError and UsageError for a manifest,
    options, files or DSNs that are wrong; OrchError if it cannot be asked which files are pending.
    """
    return trace(scope.run(scope.assemble(), sink), since=since, version=server_version or 0)
