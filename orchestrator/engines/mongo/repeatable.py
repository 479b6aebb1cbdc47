"""Decide which updates and deletes can safely be executed again, completely or in part. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from bson import Binary, DatetimeMS, ObjectId

from orchestrator.patterns import regex

# Operators that change nothing where they were applied before.
_OPERATORS = frozenset({"$set", "$unset", "$setOnInsert", "$min", "$max", "$addToSet", "$pull", "$pullAll"})
# Types whose values are the same key for the server exactly where they are equal here.
_KEYS = (str, int, float, ObjectId, Binary, UUID, datetime, DatetimeMS)


def is_repeatable_delete(command: dict[str, Any]) -> bool:
    """Whether a `delete` made again deletes nothing else."""
    return all(_by_document(one["q"]) if one.get("limit") == 0 else _one(one) for one in command["deletes"])


def is_repeatable_update(command: dict[str, Any]) -> bool:
    """Whether an `update` made again ends the same: no document's end depends on how often, or how far, it was made.

    So it is where a document is changed by one entry alone: chained entries (b to c, then a to b) would pass it on.
    """
    entries = command["updates"]
    alone = len(entries) == 1 or (all(map(_one, entries)) and len({e["q"]["_id"] for e in entries}) == len(entries))
    return alone and all(map(_is_repeatable, entries))


def _is_repeatable(entry: dict[str, Any]) -> bool:
    change = entry["u"]
    if not isinstance(change, dict) or "arrayFilters" in entry:  # a pipeline reads what it changes
        return False
    operators = {key for key in change if key.startswith("$")}
    if operators and not operators <= _OPERATORS:
        return False
    if any("$" in path for operator in operators for path in change[operator]):  # the next element, the second time
        return False
    if entry.get("upsert"):  # a second document, unless its key is given
        return _one(entry) and set(entry["q"]) == {"_id"}
    return _by_document(entry["q"]) if entry.get("multi") else _one(entry)


def _one(entry: dict[str, Any]) -> bool:
    """Whether the filter names one document by its key. Another collation than the key's might match several."""
    return isinstance(entry["q"].get("_id"), _KEYS) and _by_document(entry["q"]) and "collation" not in entry


def _by_document(query: Any) -> bool:
    """Whether a document alone decides if the filter matches it: some expressions ask clock or chance."""
    if isinstance(query, list):
        return all(map(_by_document, query))
    if not isinstance(query, dict):
        return not (isinstance(query, str) and query.startswith(("$$NOW", "$$CLUSTER_TIME")))
    return all(key not in _CHANCE and _is_plain(key, value) and _by_document(value) for key, value in query.items())


def _is_plain(key: str, value: Any) -> bool:
    return key != "$where" or not _CHANCE_IN_CODE.search(str(value))


_CHANCE = frozenset({"$rand", "$sampleRate", "$function", "$accumulator"})
_CHANCE_IN_CODE = regex("random|Date|ObjectId|UUID|eval|Function")
