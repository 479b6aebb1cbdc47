"""A copy of a database: its name for people and shells, all facts for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.operations.clone import Clone


def clone_text(clone: Clone) -> str:
    """Return the name of the copy on its server."""
    return clone.name


def clone_document(clone: Clone) -> dict[str, Any]:
    """Return what `orch clone --output json` shows; the DSN is without its password."""
    facts = {"id": clone.id, "engine": clone.engine, "name": clone.name, "endpoint": clone.endpoint}
    return {"format": 1, **facts, "dsn": clone.dsn}
