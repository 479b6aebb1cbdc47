"""How large the collections of a database are, as the server counts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from orchestrator.engines.mongo import errors
from orchestrator.model import Size

if TYPE_CHECKING:
    from orchestrator.engines.mongo.session import MongoSession

_GONE = 26  # NamespaceNotFound
_STATS: dict[str, Any] = {"$collStats": {"storageStats": {}}}


def sizes(session: MongoSession) -> dict[str, Size]:
    """Return name → size of collections: documents, bytes on disk with indexes. How often they are written is not counted."""
    found: dict[str, Size] = {}
    with errors.mapped(session.target):
        for info in session.database.list_collections(filter={"type": "collection"}):
            name = info["name"]
            if name.startswith("system."):
                continue
            try:
                counted = [one["storageStats"] for one in session.database[name].aggregate([_STATS])]
            except OperationFailure as error:
                if error.code == _GONE:  # dropped meanwhile
                    continue
                raise
            # One document for each shard that has a part of it.
            rows, amount = (sum(int(one.get(key, 0)) for one in counted) for key in ("count", "totalSize"))
            found[name] = Size(rows, amount, 0.0)
    return found
