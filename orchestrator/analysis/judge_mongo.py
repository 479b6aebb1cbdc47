"""Find broken lint rules in MongoDB commands, given the collections that exist before each command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestrator.analysis.hits import Hit
from orchestrator.records import dataclass, field

Command = Mapping[str, Any]
_FILLS = ("insert", "createIndexes", "update", "findAndModify")
_ALL = ({"_id": {"$exists": True}}, {"_id": {"$ne": None}})


@dataclass
class Collections:
    """The collections that the files made so far, each with the number of its file.

    `used` are those that files wrote to: MongoDB makes them then. `complete`: all files so far were read. `own` is the name of
    their database, if that is known.
    """

    number: int = -1
    pending_from: int = 0
    made: dict[str, int] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    complete: bool = True
    own: str = ""

    def is_elsewhere(self, place: object) -> bool:
        """Whether a place that a stage writes to is in another database, as far as is known."""
        return isinstance(place, Mapping) and "db" in place and (not self.own or place["db"] != self.own)

    def is_new(self, name: object) -> bool:
        """Whether the plan itself makes this collection."""
        return isinstance(name, str) and self.made.get(name, -1) >= self.pending_from

    def is_old(self, name: object) -> bool:
        """Whether this collection was there before the plan, as far as the files tell; all may be if some were not read."""
        return isinstance(name, str) and not self.is_new(name) and (name in self.made or name in self.used)


def judge_command(collections: Collections, command: Command) -> list[Hit]:
    """Return what there is to say of a command, and take note of what it creates, renames and drops."""
    name = next(iter(command), "")
    target = command.get(name)
    rule = _RULES.get(name)
    hits = list(rule(collections, command, str(target))) if rule else []
    if name == "create" and isinstance(target, str):
        collections.made.setdefault(target, collections.number)
    elif name == "drop" and isinstance(target, str):
        collections.made.pop(target, None)
        collections.used.discard(target)
    elif name in _FILLS and isinstance(target, str):
        collections.used.add(target)
    elif name == "renameCollection":
        old, new = _bare(command.get(name)), _bare(command.get("to"))
        if old in collections.made:
            collections.made[new] = collections.made.pop(old)
    return hits


def _bare(name: object) -> str:
    return str(name).partition(".")[2]


def _drop(collections: Collections, _: Command, target: str) -> Iterator[Hit]:
    if not collections.is_new(target):
        yield Hit("MG101", 0, f"drops collection {target} and what is in it", target)


def _delete(collections: Collections, command: Command, target: str) -> Iterator[Hit]:
    deletes = command.get("deletes") or ()
    if isinstance(deletes, list | tuple) and not collections.is_new(target):
        for one in deletes:
            if isinstance(one, Mapping) and _is_all(one.get("q")) and one.get("limit", 0) == 0:
                yield Hit("MG103", 0, f"deletes every document of {target}", target)
                return


def _is_all(query: object) -> bool:
    """Whether a query finds every document, by what it says: nothing, or that there is an _id."""
    return not query or query in _ALL


def _bulk_write(collections: Collections, command: Command, _: str) -> Iterator[Hit]:
    """What a bulkWrite deletes and updates, in the collections that it names."""
    spaces, operations = command.get("nsInfo") or (), command.get("ops") or ()
    full = [str(one.get("ns")) if isinstance(one, Mapping) else "" for one in spaces]
    for one in operations:
        if not (isinstance(one, Mapping) and _is_all(one.get("filter")) and one.get("multi")):
            continue
        kind = "delete" if "delete" in one else "update"
        number = one.get(kind)
        shown = full[number] if isinstance(number, int) and 0 <= number < len(full) else "?"
        name = _bare(shown)
        if not collections.is_new(name) and kind == "delete":
            yield Hit("MG103", 0, f"deletes every document of {shown}", name)
        elif not collections.is_new(name):
            yield Hit("MG601", 0, "rewrites every document of a collection", name)


def _apply_ops(collections: Collections, command: Command, _: str) -> Iterator[Hit]:
    """What the commands among the operations do."""
    for one in command.get("applyOps") or ():
        inner = one.get("o") if isinstance(one, Mapping) and one.get("op") == "c" else None
        if isinstance(inner, Mapping) and inner:
            name = next(iter(inner))
            if name != "applyOps" and (rule := _RULES.get(name)):
                yield from rule(collections, inner, str(inner[name]))


def _update(collections: Collections, command: Command, target: str) -> Iterator[Hit]:
    updates = command.get("updates") or ()
    if isinstance(updates, list | tuple) and not collections.is_new(target):
        for one in updates:
            if isinstance(one, Mapping) and _is_all(one.get("q")) and one.get("multi"):
                yield Hit("MG601", 0, "rewrites every document of a collection", target)
                return


def _aggregate(collections: Collections, command: Command, target: str) -> Iterator[Hit]:
    stages = command.get("pipeline") or ()
    for stage in stages if isinstance(stages, list | tuple) else ():
        if not isinstance(stage, Mapping):
            continue
        if isinstance(merge := stage.get("$merge"), Mapping):
            yield from _merge(collections, merge)
        if "$out" in stage:
            out = stage["$out"]
            into = out.get("coll", "") if isinstance(out, Mapping) else str(out)
            # What is in a database that is given by name, nobody who reads these files can know.
            named = collections.is_elsewhere(out)
            if named or into == target or _may_be_old(collections, into):
                shown = f"{into} of database {out['db']}" if named else into
                yield Hit("MG104", 0, f"replaces collection {shown} by the result of an aggregation", str(into))


def _merge(collections: Collections, merge: Mapping[str, Any]) -> Iterator[Hit]:
    """What $merge overwrites in another database. In its own it keeps what the file does not name."""
    into = merge.get("into")
    if not (collections.is_elsewhere(into) and isinstance(into, Mapping)):
        return
    matched = merge.get("whenMatched", "merge")
    if matched not in ("keepExisting", "fail"):
        does = "replaces" if matched == "replace" else "changes"
        shown = f"collection {into.get('coll', '')} of database {into['db']}"
        what = f"{does} documents of {shown} by the result of an aggregation"
        yield Hit("MG104", 0, what, str(into.get("coll", "")))


def _may_be_old(collections: Collections, name: object) -> bool:
    return collections.is_old(name) or not (collections.complete or collections.is_new(name))


def _map_reduce(collections: Collections, command: Command, target: str) -> Iterator[Hit]:
    """mapReduce puts its result in the place of a collection, unless it merges or reduces into it."""
    out = command.get("out")
    into = out.get("replace", "") if isinstance(out, Mapping) else out
    if isinstance(into, str) and into and (into == target or _may_be_old(collections, into)):
        yield Hit("MG104", 0, f"replaces collection {into} by the result of mapReduce", into)


def _capped(collections: Collections, _: Command, target: str) -> Iterator[Hit]:
    if not collections.is_new(target):
        yield Hit("MG105", 0, f"drops the oldest documents of {target} beyond the limit", target)
        yield Hit("MG201", 0, "copies a collection while nobody can write to it", target)


def _validate(collections: Collections, _: Command, target: str) -> Iterator[Hit]:
    if not collections.is_new(target):
        yield Hit("MG202", 0, "checks a collection while nobody can write to it", target)


def _create_indexes(collections: Collections, command: Command, target: str) -> Iterator[Hit]:
    indexes = command.get("indexes") or ()
    if isinstance(indexes, list | tuple) and not collections.is_new(target):
        for index in indexes:
            if not isinstance(index, Mapping):
                continue
            if index.get("unique"):
                name = index.get("name")
                which = f"the unique index {name}" if isinstance(name, str) and name else "a unique index"
                yield Hit("MG401", 0, f"builds {which}, which fails if two documents are alike", target, maybe=True)
            if "expireAfterSeconds" in index:
                yield Hit("MG106", 0, f"makes the server delete older documents of {target}", target)


def _coll_mod(collections: Collections, command: Command, target: str) -> Iterator[Hit]:
    if collections.is_new(target):
        return
    if (
        command.get("validator")
        and command.get("validationLevel", "strict") == "strict"
        and command.get("validationAction", "error") == "error"
    ):
        yield Hit("MG402", 0, "adds a validator that the next update of an old document may fail", target, maybe=True)
    if "cappedSize" in command or "cappedMax" in command:
        yield Hit("MG105", 0, f"drops the oldest documents of {target} beyond the limit", target)
    if command.get("expireAfterSeconds", "off") != "off":
        yield Hit("MG106", 0, f"makes the server delete older documents of {target}", target)
    index = command.get("index")
    if isinstance(index, Mapping) and "expireAfterSeconds" in index:
        yield Hit("MG106", 0, f"makes the server delete older documents of {target}", target)
    if isinstance(index, Mapping) and index.get("unique"):
        yield Hit("MG401", 0, "makes an index unique, which fails if two documents are alike", target, maybe=True)


def _re_index(_: Collections, __: Command, target: str) -> Iterator[Hit]:
    yield Hit("MG403", 0, "reIndex runs on a standalone server only", target)


def _rename(collections: Collections, command: Command, target: str) -> Iterator[Hit]:
    if not collections.is_new(_bare(target)):
        yield Hit("MG501", 0, "renames what running programs use", _bare(target))
    if command.get("dropTarget") and not collections.is_new(_bare(command.get("to"))):
        replaced = _bare(command.get("to"))
        yield Hit("MG101", 0, f"drops collection {replaced} and what is in it", replaced)


def _drop_indexes(collections: Collections, _: Command, target: str) -> Iterator[Hit]:
    if not collections.is_new(target):
        yield Hit("MG502", 0, "drops indexes that queries may need", target)


_RULES: dict[str, Callable[[Collections, Command, str], Iterator[Hit]]] = {
    "drop": _drop,
    "delete": _delete,
    "update": _update,
    "aggregate": _aggregate,
    "mapReduce": _map_reduce,
    "mapreduce": _map_reduce,
    "bulkWrite": _bulk_write,
    "applyOps": _apply_ops,
    "convertToCapped": _capped,
    "validate": _validate,
    "createIndexes": _create_indexes,
    "collMod": _coll_mod,
    "reIndex": _re_index,
    "renameCollection": _rename,
    "dropIndexes": _drop_indexes,
}
