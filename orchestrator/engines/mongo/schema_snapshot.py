"""The schema of a MongoDB database: its collections and views, their options, their indexes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bson import json_util
from pymongo.database import Database
from pymongo.errors import OperationFailure

from orchestrator.model import SchemaObject, SchemaSnapshot

_MANY = 5  # collections; for fewer it is not worth the while
# What collMod leaves where an option was taken back says the same as no option.
_NONE: dict[str, Any] = {
    "validator": {},
    "validationLevel": "strict",
    "validationAction": "error",
    "changeStreamPreAndPostImages": {"enabled": False},
}


def schema_snapshot(database: Database[Any], bookkeeping: Collection[str]) -> SchemaSnapshot:
    """Return what is in the database but the bookkeeping. Documents, users and roles are not looked at."""
    found: dict[SchemaObject, str] = {}
    infos = list(database.list_collections())
    indexes = _all_indexes(database) if len(infos) > _MANY else None
    for info in infos:
        name, kind = info["name"], info.get("type", "collection")
        if name in bookkeeping or name.startswith("system."):
            continue
        found[SchemaObject(kind, name)] = ""
        for option, value in _options(info.get("options", {})).items():
            found[SchemaObject("option", f"{name}.{option}", name)] = _text(value, ordered=option == "pipeline")
        if kind != "view":
            of_collection = indexes.get(name) if indexes is not None else None
            for index in database[name].list_indexes() if of_collection is None else of_collection:
                facts = {key: value for key, value in index.items() if key not in ("v", "ns", "name")}
                if index["name"] != "_id_":  # it goes with its collection
                    found[SchemaObject("index", f"{name}.{index['name']}", name)] = _text(dict(sorted(facts.items())))
    return found


def _all_indexes(database: Database[Any]) -> dict[str, list[dict[str, Any]]] | None:
    """Return the indexes of all collections, asked for at once; None where this login may not, or the server cannot.

    Before 6.0, and without the right to list all collections of all databases, each collection is asked.
    """
    stages: list[dict[str, Any]] = [
        {"$listCatalog": {}},
        {"$match": {"db": database.name, "md.indexes": {"$exists": True}}},
    ]
    try:
        catalog = list(database.client.admin.aggregate([*stages, {"$project": {"name": 1, "md.indexes": 1}}]))
    except OperationFailure:
        return None
    return {one["name"]: [index["spec"] for index in one["md"]["indexes"] if index.get("ready")] for one in catalog}


def _options(options: dict[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in options.items() if _NONE.get(name) != value}
    if "validator" not in said:  # there is nothing that they could be about
        said.pop("validationLevel", None)
        said.pop("validationAction", None)
    return said


def _text(value: Any, *, ordered: bool = True) -> str:
    """Return a value as text. `ordered`: the order of its keys means something."""
    return json_util.dumps(_plain(value, ordered=ordered), ensure_ascii=False)


def _plain(value: Any, *, ordered: bool) -> Any:
    """Return a value in which 1 and 1.0 are the same: some clients write every number as a double."""
    if isinstance(value, dict):
        items = value.items() if ordered else sorted(value.items())
        return {key: _plain(item, ordered=ordered) for key, item in items}
    if isinstance(value, list):
        return [_plain(item, ordered=ordered) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
