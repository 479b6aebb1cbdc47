"""How large tables are: from the servers, or from a file that `orch stats` wrote where it can reach them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.analysis.sizes import WRITE, Sizes, read_document
from orchestrator.engines import dialect
from orchestrator.errors import InvalidError, OrchError
from orchestrator.events import Failure, Sink
from orchestrator.model import Mark
from orchestrator.operations.scope import Scope

_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """The sizes of tables, by databases, and why some databases could not be asked. `at` is when: an ISO 8601 time, UTC."""

    sizes: Mapping[str, Sizes]
    failed: tuple[tuple[str, Failure], ...]
    at: str


def measure(scope: Scope, sink: Sink) -> Measured:
    """Ask the servers how large the tables of these databases are. Changes nothing.

    A database of an engine that counts nothing is left out. InvalidError and UsageError for a manifest, options or DSNs
    that are wrong.
    """
    run = scope.run(scope.assemble(), sink)
    sizes: dict[str, Sizes] = {}
    failed: list[tuple[str, Failure]] = []
    for id, target in run.targets.items():
        if not (sizing := dialect(target.engine).sizing):
            continue
        try:
            with run.engines[target.engine].connect(target) as session:
                sizes[id] = sizing.sizes(session)
                session.keep()
        except OrchError as error:
            failed.append((id, Failure.of(error, run.redact)))
    return Measured(sizes, tuple(failed), datetime.now(UTC).isoformat(timespec="seconds"))


def read_sizes(path: str) -> Mapping[str, Sizes]:
    """Return the sizes that `orch stats` has written to a file; InvalidError if it has not."""
    import json

    from orchestrator.manifest.source import read_text

    try:
        given = json.loads(read_text(Path(path), _MAX_BYTES))
    except (ValueError, RecursionError):
        raise InvalidError("this is not JSON", where=Mark(path), hint=WRITE) from None
    return read_document(given, path)
