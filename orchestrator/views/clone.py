"""A copy of a database: its name for people and shells, all facts for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator.views.table import table

if TYPE_CHECKING:
    from orchestrator.operations.clone import Clone
    from orchestrator.scratch.clones import Copy


def clone_text(clone: Clone) -> str:
    """Return the name of the copy on its server."""
    return clone.name


def clone_document(clone: Clone) -> dict[str, Any]:
    """Return what `orch clone --output json` shows; the DSN is without its password."""
    facts = {"id": clone.id, "engine": clone.engine, "name": clone.name, "endpoint": clone.endpoint}
    return {"format": 1, **facts, "dsn": clone.dsn}


def clones_text(copies: Sequence[Copy]) -> str:
    """Return a table: what each is, where, whose, and since when."""
    rows = [(one.name, "template" if one.template else "clone", one.endpoint, one.owner, _made(one)) for one in copies]
    return table(("NAME", "KIND", "SERVER", "OWNER", "CREATED"), rows)


def clones_document(copies: Sequence[Copy]) -> dict[str, Any]:
    """Return what `orch clones --output json` shows."""
    return {"format": 1, "clones": [asdict(one) | {"made": _made(one) or None} for one in copies]}


def _made(one: Copy) -> str:
    return f"{datetime.fromtimestamp(one.made, UTC):%Y-%m-%d %H:%M} UTC" if one.made else ""
