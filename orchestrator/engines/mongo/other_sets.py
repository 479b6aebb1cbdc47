"""Records of other sets of migrations in the same database, which no file of this set may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HISTORY = frozenset({"version", "attempt", "direction", "checksum", "done"})
_LOCK = frozenset({"locking_key", "pid", "hostname", "created_at"})


def is_record(document: Mapping[str, Any] | None) -> bool:
    """Return whether a document is one that orch or golang-migrate wrote for itself, whatever its collection is called."""
    if document is None:
        return False
    names = document.keys()
    version, dirty = document.get("version"), document.get("dirty")
    whole = isinstance(version, (int, float)) and not isinstance(version, bool)
    points = names == {"_id", "version", "dirty"} and whole and isinstance(dirty, bool)
    return points or names >= _HISTORY or names >= _LOCK
