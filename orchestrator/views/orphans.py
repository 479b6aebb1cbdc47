"""Databases with a migration history that no manifest declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.views.table import table

if TYPE_CHECKING:
    from orchestrator.operations.orphans import Orphans


def orphans_text(orphans: Orphans) -> str:
    """Return a table of what was found; '' if there is nothing."""
    if not orphans.found:
        return ""
    rows = [
        (one.database, one.engine, one.endpoint, "-" if one.version is None else str(one.version))
        for one in orphans.found
    ]
    return table(("DATABASE", "ENGINE", "SERVER", "VERSION"), rows)


def orphans_document(orphans: Orphans) -> Mapping[str, object]:
    """Return what was found as plain data."""
    return {
        "format": 1,
        "orphans": [
            {"engine": one.engine, "endpoint": one.endpoint, "database": one.database, "version": one.version}
            for one in orphans.found
        ],
        "unread": [{"place": place, "what": failure.what, "hint": failure.hint} for place, failure in orphans.unread],
    }
