"""The output of `orch stats`: sizes of tables as data, which `orch lint --stats` reads."""

from __future__ import annotations

from typing import Any

from orchestrator.analysis.sizes import document
from orchestrator.operations.stats import Measured


def stats_document(measured: Measured) -> dict[str, Any]:
    """Return the sizes with the time at which they were measured."""
    return document(measured.sizes, measured.at)
