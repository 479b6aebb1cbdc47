"""Find out what a MongoDB command did whose end was not recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bson import json_util
from pymongo.database import Database

from orchestrator.engines.base import Effect
from orchestrator.engines.mongo.repeatable import is_repeatable_delete, is_repeatable_update

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
    wanted = _normalised({key: value for key, value in command.items() if key in _OPTIONS})
    options = _normalised(found.get("options", {}))
    other = [key for key in _OPTIONS if not _same(key, wanted.get(key), options.get(key))]
    if other:
        return Effect.UNKNOWN, f"collection {name} is there with another {', '.join(other)}"
    return Effect.DONE, f"collection {name} is there with these options"


# What a server takes an option for that is not given. It leaves some of these out when it lists a collection's options.
_DEFAULTS: dict[str, Any] = {
    "capped": False,
    "validator": {},
    "validationLevel": "strict",
    "validationAction": "error",
    "pipeline": [],
    "collation": {"locale": "simple"},
    "changeStreamPreAndPostImages": {"enabled": False},
    "storageEngine": {},
    "indexOptionDefaults": {},
}
_OPTIONS = (
    *_DEFAULTS,
    "size",
    "max",
    "viewOn",
    "timeseries",
    "clusteredIndex",
    "expireAfterSeconds",
    "encryptedFields",
)
# The same inside of an option; None where what the server adds follows from the rest.
_INNER: dict[str, dict[str, Any]] = {
    "collation": {
        "caseLevel": False,
        "caseFirst": "off",
        "strength": 3,
        "numericOrdering": False,
        "alternate": "non-ignorable",
        "maxVariable": "punct",
        "normalization": False,
        "backwards": False,
        "version": None,
    },
    "timeseries": {"granularity": "seconds", "bucketMaxSpanSeconds": None, "bucketRoundingSeconds": None},
    "clusteredIndex": {"name": "_id_", "v": None},
}


def _normalised(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None and value != _DEFAULTS.get(key)}


def _same(key: str, wanted: Any, there: Any) -> bool:
    """Whether the server made this option of the one wanted: it adds defaults, and rounds a size."""
    if key == "size" and wanted is not None and there is not None:
        return bool(there - 256 < wanted <= there)
    inner = _INNER.get(key)
    if inner is None or not (isinstance(wanted, dict) and isinstance(there, dict)):
        return bool(wanted == there)
    added = {name: value for name, value in there.items() if name not in wanted}
    return all(there.get(name) == value for name, value in wanted.items()) and all(
        name in inner and (inner[name] is None or inner[name] == value) for name, value in added.items()
    )


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
    there = {index["name"]: list(index["key"].items()) for index in database[command["dropIndexes"]].list_indexes()}
    wanted = command["index"]
    if isinstance(wanted, dict):  # by its keys, whose order matters
        still = [name for name, keys in there.items() if keys == list(wanted.items())]
        gone = [] if still else [json_util.dumps(wanted)]
    elif wanted == "*":
        still, gone = [name for name in there if name != "_id_"], []
    else:
        names = wanted if isinstance(wanted, list) else [wanted]
        still, gone = [name for name in names if name in there], [name for name in names if name not in there]
    if not still:
        return Effect.DONE, f"gone: {', '.join(gone) or 'all indexes'}"
    if not gone:
        return Effect.NOT_DONE, f"still there: {', '.join(still)}"
    # The server drops all of a list or none, so somebody else took part; to run it once more would fail.
    return Effect.UNKNOWN, f"gone: {', '.join(gone)}; still there: {', '.join(still)}"


def _rename(database: Database[Any], command: dict[str, Any]) -> Answer:
    def is_there(full: str) -> bool:
        home, _, name = full.partition(".")
        return _collection(database.client.get_database(home), name) is not None

    source, target = command["renameCollection"], command["to"]
    if is_there(source):
        return Effect.NOT_DONE, f"collection {source} is still there"
    return (
        (Effect.DONE, f"collection {target} is there")
        if is_there(target)
        else (Effect.UNKNOWN, "neither name is there")
    )


def _insert(database: Database[Any], command: dict[str, Any]) -> Answer:
    documents = command.get("documents", [])
    if not all("_id" in document for document in documents):
        return Effect.UNKNOWN, "the documents have no _id of their own, so they cannot be looked up"
    ids = [document["_id"] for document in documents]
    there = database[command["insert"]].count_documents({"_id": {"$in": ids}})
    if there == len(ids):
        return Effect.DONE, "all its documents are there"
    return (Effect.UNKNOWN if there else Effect.NOT_DONE), f"{there} of its {len(ids)} documents are there"


_REPEATABLE = "it can safely be run once more"


def _delete(_database: Database[Any], command: dict[str, Any]) -> Answer:
    if is_repeatable_delete(command):
        return Effect.NOT_DONE, _REPEATABLE
    return Effect.UNKNOWN, "it cannot be told whether it was done, and once more it may delete other documents"


def _update(_database: Database[Any], command: dict[str, Any]) -> Answer:
    if is_repeatable_update(command):
        return Effect.NOT_DONE, _REPEATABLE
    return Effect.UNKNOWN, "it cannot be told whether the update was made, and making it twice may differ"


def _coll_mod(_database: Database[Any], _command: dict[str, Any]) -> Answer:
    return (
        Effect.NOT_DONE,
        _REPEATABLE,
    )  # each of its options is a value to be set, and an index is told by name or keys


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
