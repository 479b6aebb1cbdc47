"""How large tables are: from the servers, or from a document that somebody who may look has written."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from orchestrator.analysis.sizes import WRITE, document, read_document
from orchestrator.engines import dialect
from orchestrator.errors import InvalidError, OrchError
from orchestrator.events import Failure
from orchestrator.execution.run import Run
from orchestrator.model import Mark, Size

_MAX_BYTES = 64 * 1024 * 1024


def live_sizes(run: Run) -> tuple[dict[str, dict[str, Size]], list[tuple[str, Failure]]]:
    """Ask the servers for the sizes of all databases of a run; return them, and why some could not be asked.

    A database of an engine that counts nothing is left out.
    """
    found: dict[str, dict[str, Size]] = {}
    failed: list[tuple[str, Failure]] = []
    for id, target in run.targets.items():
        if not (module := dialect(target.engine).sizes):
            continue
        try:
            with run.engines[target.engine].connect(target) as session:
                found[id] = import_module(module).sizes(session)
                session.keep()
        except OrchError as error:
            failed.append((id, Failure.of(error, run.redact)))
    return found, failed


def stats_document(found: dict[str, dict[str, Size]]) -> dict[str, Any]:
    """Return the document of sizes that were asked for just now."""
    return document(found, datetime.now(UTC).isoformat(timespec="seconds"))


def read_sizes(path: str) -> dict[str, dict[str, Size]]:
    """Return the sizes that `orch stats` has written to a file; InvalidError if it has not."""
    import json

    from orchestrator.manifest.source import read_text

    try:
        given = json.loads(read_text(Path(path), _MAX_BYTES))
    except (ValueError, RecursionError):
        raise InvalidError("this is not JSON", where=Mark(path), hint=WRITE) from None
    return read_document(given, path)
