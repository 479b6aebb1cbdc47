"""What was waited for and is migrated now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def wait_text(databases: Sequence[str]) -> str:
    """Return a sentence on each database."""
    return "\n".join(f"{id} is migrated." for id in databases)


def wait_document(databases: Sequence[str]) -> dict[str, Any]:
    """Return what `orch wait --output json` shows."""
    return {"format": 1, "databases": [{"id": id, "result": "migrated"} for id in databases]}
