"""Decide which commands and which whole files a MongoDB transaction can contain. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from orchestrator.engines.mongo.repeatable import is_repeatable_delete, is_repeatable_update

DATA_COMMANDS = frozenset({"insert", "update", "delete", "findAndModify", "findandmodify"})
"""Commands that change documents: a replica set can commit them together with their record."""
_MAX_INSERTED = 16 * 2**20
"""Bytes of BSON that the commands of a file that commits as a whole may have: a longer file commits command by command."""
DIRECTIVE = {"orch": "no-transaction"}
"""Where this is the `comment` of a command, it runs outside of any transaction."""
# What only exists outside of transactions; and what is not worth one, as it takes no writes there later.
_NOT_CREATED = frozenset({"viewOn", "timeseries", "capped", "encryptedFields", "temp"})
# A transaction takes these only where its first command has them, and that is ours.
_OF_THE_API = frozenset({"apiVersion", "apiStrict", "apiDeprecationErrors"})


def may_commit(command: dict[str, Any]) -> bool:
    """Whether a command can commit together with its record, into a collection that is there."""
    name, collection = next(iter(command.items()))
    return name in DATA_COMMANDS and not _stays_out(command) and not _is_system(collection)


def may_commit_together(commands: Iterable[tuple[dict[str, Any], int]]) -> bool:
    """Whether all commands of a file, each with its size in bytes, can stand in one transaction.

    Collections are made there, and indexes of collections that the same file makes and has not filled yet.
    """
    made: set[Any] = set()
    filled: set[Any] = set()
    room = _MAX_INSERTED
    for command, size in commands:
        name, collection = next(iter(command.items()))
        room -= size
        if room < 0 or _stays_out(command) or not isinstance(collection, str) or _is_system(collection):
            return False
        if name == "create" and not _NOT_CREATED & command.keys():
            made.add(collection)
        elif name == "createIndexes" and collection in made - filled:
            continue
        elif name in DATA_COMMANDS:
            filled.add(collection)
        else:
            return False
    return True


def _stays_out(command: dict[str, Any]) -> bool:
    return command.get("comment") == DIRECTIVE or not _OF_THE_API.isdisjoint(command)


def is_repeatable(command: dict[str, Any]) -> bool:
    """Whether a command that was made, wholly or in part, can be made again with the same end."""
    check = _REPEATABLE.get(next(iter(command)))
    try:
        return check is not None and check(command)
    except (TypeError, AttributeError, KeyError):  # not a command that the server could take
        return False


_REPEATABLE: dict[str, Callable[[dict[str, Any]], bool]] = {
    "update": is_repeatable_update,
    "delete": is_repeatable_delete,
}


def _is_system(collection: Any) -> bool:
    return str(collection).startswith("system.")
