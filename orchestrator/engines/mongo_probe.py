"""What became of a MongoDB command whose end was not recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymongo.database import Database

from orchestrator.engines.base import Effect

Answer = tuple[Effect, str]


def probe(database: Database[Any], command: dict[str, Any]) -> Answer:
    """Look at the database. Only what can be told for sure is told; the rest is for a person."""
    name = next(iter(command))
    ask = _PROBES.get(name)
    if ask is None:
        return Effect.UNKNOWN, f"it cannot be told whether '{name}' was done"
    try:
        return ask(database, command)
    except (TypeError, AttributeError, KeyError):  # not a command that the server could have taken
        return Effect.UNKNOWN, f"'{name}' is malformed"


def _collection(database: Database[Any], name: str) -> dict[str, Any] | None:
    found = list(database.list_collections(filter={"name": name}))
    return dict(found[0]) if found else None


def _create(database: Database[Any], command: dict[str, Any]) -> Answer:
    name = command["create"]
    found = _collection(database, name)
    if found is None:
        return Effect.NOT_DONE, f"collection {name} is not there"
    options = found.get("options", {})
    for key in (
        "validator",
        "capped",
        "size",
        "max",
        "viewOn",
        "pipeline",
        "collation",
        "timeseries",
        "expireAfterSeconds",
    ):
        wanted = command.get(key)
        if key in command and key != "collation" and options.get(key) != wanted and key not in ("size", "timeseries"):
            return Effect.UNKNOWN, f"collection {name} is there with another {key}"
    return Effect.DONE, f"collection {name} is there with these options"


def _drop(database: Database[Any], command: dict[str, Any]) -> Answer:
    gone = _collection(database, command["drop"]) is None
    return (
        Effect.DONE if gone else Effect.NOT_DONE
    ), f"collection {command['drop']} is {'gone' if gone else 'still there'}"


def _create_indexes(database: Database[Any], command: dict[str, Any]) -> Answer:
    there = {index["name"] for index in database[command["createIndexes"]].list_indexes()}
    missing = [index.get("name", "?") for index in command.get("indexes", []) if index.get("name") not in there]
    # A build that goes on without its client is listed too. The server leaves alone what is there, and joins what is
    # being built, so running the command once more is right in every case.
    facts = f"not there: {', '.join(missing)}" if missing else "the indexes are there, or being built"
    return Effect.NOT_DONE, facts


def _drop_indexes(database: Database[Any], command: dict[str, Any]) -> Answer:
    wanted = command.get("index")
    if not isinstance(wanted, str) or wanted == "*":
        return Effect.NOT_DONE, "it can safely be run once more"
    gone = wanted not in {index["name"] for index in database[command["dropIndexes"]].list_indexes()}
    return (Effect.DONE if gone else Effect.NOT_DONE), f"index {wanted} is {'gone' if gone else 'still there'}"


def _rename(database: Database[Any], command: dict[str, Any]) -> Answer:
    source = command["renameCollection"].partition(".")[2]
    target = str(command.get("to", "")).partition(".")[2]
    there, moved = _collection(database, source) is not None, _collection(database, target) is not None
    if there:
        return Effect.NOT_DONE, f"collection {source} is still there"
    return (Effect.DONE, f"collection {target} is there") if moved else (Effect.UNKNOWN, "neither name is there")


def _insert(database: Database[Any], command: dict[str, Any]) -> Answer:
    documents = command.get("documents", [])
    if not all("_id" in document for document in documents):
        return Effect.UNKNOWN, "the documents have no _id of their own, so they cannot be looked up"
    ids = [document["_id"] for document in documents]
    there = database[command["insert"]].count_documents({"_id": {"$in": ids}})
    if there == len(ids):
        return Effect.DONE, "all its documents are there"
    return (Effect.UNKNOWN if there else Effect.NOT_DONE), f"{there} of its {len(ids)} documents are there"


def _delete(_database: Database[Any], command: dict[str, Any]) -> Answer:
    if all(entry.get("limit") == 0 for entry in command.get("deletes", [])):
        return Effect.NOT_DONE, "it can safely be run once more"
    return Effect.UNKNOWN, "it deletes one of several documents, and it cannot be told whether it has"


def _update(_database: Database[Any], command: dict[str, Any]) -> Answer:
    for entry in command.get("updates", []):
        change = entry.get("u")
        repeatable = (
            isinstance(change, dict)
            and set(change) <= {"$set", "$unset"}
            and (entry.get("multi") or "_id" in entry.get("q", {}))
        )
        touches_filter = isinstance(change, dict) and any(
            key in entry.get("q", {}) for fields in change.values() if isinstance(fields, dict) for key in fields
        )
        if not repeatable or (entry.get("upsert") and touches_filter):
            return Effect.UNKNOWN, "it cannot be told whether the update was made, and making it twice may differ"
    return Effect.NOT_DONE, "it can safely be run once more"


def _coll_mod(_database: Database[Any], _command: dict[str, Any]) -> Answer:
    return Effect.NOT_DONE, "it can safely be run once more"


_PROBES: dict[str, Callable[[Database[Any], dict[str, Any]], Answer]] = {
    "create": _create,
    "drop": _drop,
    "createIndexes": _create_indexes,
    "dropIndexes": _drop_indexes,
    "renameCollection": _rename,
    "insert": _insert,
    "delete": _delete,
    "update": _update,
    "collMod": _coll_mod,
}
