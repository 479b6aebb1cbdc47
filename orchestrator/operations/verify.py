"""Check that every down file undoes its up file, in scratch databases."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.events import Sink
from orchestrator.operations.scope import Scope
from orchestrator.scratch.verify import Verifier


def prepare(scope: Scope, sink: Sink, since: int = 0) -> Verifier:
    """Return the verification of the chosen databases from a version on: `verify` runs it, `stop` is for a signal handler.

    Without `scope.only` all databases are verified. InvalidError for a manifest, files or DSNs that are wrong.
    """
    alone = replace(scope, no_deps=bool(scope.only))
    return Verifier(alone.run(alone.assemble(), sink), since)
