"""What a command of a migration file may not do: change our records, speak for the driver, or be about the whole server."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.engines.mongo.checks import EXAMPLE, kind_of
from orchestrator.engines.mongo.command_names import KNOWN, OF_THE_SERVER, meant
from orchestrator.engines.mongo.extended_json import entry_offset, refuse
from orchestrator.engines.mongo.transactions import DATA_COMMANDS, DIRECTIVE
from orchestrator.hints import NAME, Blank, Command, Hint
from orchestrator.model import File

# Commands whose first value names the collection that they write, make or remove.
WRITE_COMMANDS = DATA_COMMANDS | {
    *(
        "create",
        "createIndexes",
        "drop",
        "dropIndexes",
        "deleteIndexes",
        "collMod",
        "convertToCapped",
        "renameCollection",
    )
}
# Commands that write entry by entry, and where those stand.
ENTRIES = {"insert": "documents", "update": "updates", "delete": "deletes"}
_BOOKKEEPING = frozenset(
    {"schema_migrations", "migrate_advisory_lock", "orch_history"}
)  # unless the DSN or manifest renames them
# What the driver says of every command; a transaction allows no other.
_OF_THE_DRIVER = frozenset(
    {"$db", "$clusterTime", "lsid", "txnNumber", "autocommit", "startTransaction", "readConcern"}
)


def refuse_forbidden(file: File, text: str, start: int, source: str, command: dict[str, Any]) -> None:
    """Raise InvalidError for a command that no migration may have. Its `source` begins at `start` of the file's text."""
    _refuse_foreign(file, text, start, command)
    _refuse_directive(file, text, start, command.get("comment"))
    _refuse_entries(file, source, text, start, command)
    _refuse_unread(file, text, start, command)


def _refuse_unread(file: File, text: str, start: int, command: dict[str, Any]) -> None:
    """Refuse a pipeline that writes and that the server would not begin: with a batch of 0 it waits to be asked for one."""
    stages, cursor = command.get("pipeline"), command.get("cursor")
    if next(iter(command)) != "aggregate" or not isinstance(stages, list) or not isinstance(cursor, dict):
        return
    if cursor.get("batchSize", 1) == 0 and any(
        {"$out", "$merge"} & stage.keys() for stage in stages if isinstance(stage, dict)
    ):
        refuse(file, text, start, "with a batchSize of 0 the server never runs this pipeline", 'write "cursor": {}')


def _refuse_entries(file: File, source: str, text: str, start: int, command: dict[str, Any]) -> None:
    """Refuse what neither driver nor server could take: a collection that is no string, entries that are no objects."""
    name, collection = next(iter(command.items()))
    if name in WRITE_COMMANDS and not isinstance(collection, str):
        refuse(file, text, start, f"'{name}' must name a collection", f'as in: {{"{name}": "things"}}')
    array = ENTRIES.get(name)
    if array is None:
        return
    entries = command.get(array, [])
    if not isinstance(entries, list):
        refuse(file, text, start, f"'{array}' must be an array", 'as in: {"insert": "things", "documents": [{"a": 1}]}')
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            place = start + (entry_offset(source, array, index) or 0)
            refuse(file, text, place, f"what stands in '{array}' must be objects", "put { and } around it")


def _refuse_foreign(file: File, text: str, start: int, command: dict[str, Any]) -> None:
    """Refuse what is not a migration's to do: to remove or change the bookkeeping, or to speak for the driver."""
    name = next(iter(command))
    if name not in KNOWN and (known := meant(name)):
        refuse(file, text, start, f"MongoDB has no command {json.dumps(name)}", f"did you mean {known}?")
    if name in OF_THE_SERVER:
        what = f"'{name}' runs in the database admin only, and is about the whole server: no migration of one database"
        refuse(file, text, start, what, "do it once where the server is set up, or by hand")
    if name == "dropDatabase":
        hint = 'drop its collections one by one, as in: [{"drop": "things"}]'
        refuse(file, text, start, "dropDatabase would drop the migration lock and the history too", hint)
    if mine := written(command) & _BOOKKEEPING:
        refuse(file, text, start, f"'{name}' changes {mine.pop()}, which {OWNED}", OWNED_HINT)
    if fields := sorted(_OF_THE_DRIVER & command.keys()):
        refuse(
            file, text, start, f"'{fields[0]}' is not for a migration to say: the driver does", f"leave out {fields[0]}"
        )


def _refuse_directive(file: File, text: str, start: int, comment: Any) -> None:
    """Refuse a comment that is meant for orch and says something else than the one directive that there is."""
    if kind_of(comment):
        return
    named = isinstance(comment, dict) and "orch" in comment and comment != DIRECTIVE and not _allows(comment)
    if named or (isinstance(comment, str) and comment.strip().lower().startswith("orch:")):
        what = f"the comment {json.dumps(comment, default=str)[:100]} is not a directive of orch"
        known = (DIRECTIVE, {"orch": {"replaces": "1-60"}}, {"orch": {"allow": {"MG101": "why"}}}, EXAMPLE)
        hint = "there are: " + ", ".join(f'"comment": {json.dumps(one)}' for one in known)
        refuse(file, text, start, what, hint)


def _allows(comment: dict[str, Any]) -> bool:
    """Whether a comment is a permission, which `orch lint` reads and judges."""
    orch = comment["orch"]
    return (
        comment.keys() == {"orch"}
        and isinstance(orch, dict)
        and orch.keys() == {"allow"}
        and isinstance(orch["allow"], dict)
    )


OWNED = "holds what orch and golang-migrate remember"
OWNED_HINT = Hint(
    *(Command("repair", NAME), " and ", Command("baseline", NAME, "--version", Blank("VERSION"))),
    *(" change what is remembered, ", Command("unlock", NAME), " removes a lock"),
)


def written(command: dict[str, Any]) -> set[str]:
    """Return the collections that a command writes to, makes, renames or removes."""
    name, value = next(iter(command.items()))
    if name == "renameCollection":
        return {str(full).partition(".")[2] for full in (value, command.get("to"))}
    if name in WRITE_COMMANDS:
        return {str(value)}
    if name == "cloneCollectionAsCapped":
        return {str(command.get("toCollection"))}
    if name in ("mapReduce", "mapreduce"):
        out = command.get("out")
        ways = [out.get(way) for way in ("replace", "merge", "reduce")] if isinstance(out, dict) else [out]
        return {str(way) for way in ways if way}
    found: set[str] = set()
    if name == "applyOps":
        for operation in value if isinstance(value, list) else ():
            inner = operation.get("o") if isinstance(operation, dict) and operation.get("op") == "c" else None
            full = str(operation.get("ns")) if isinstance(operation, dict) else ""
            found |= written(inner) if isinstance(inner, dict) and inner else {full.partition(".")[2]}
        return found
    spaces = command.get("nsInfo") if name == "bulkWrite" else None
    for space in spaces if isinstance(spaces, list) else ():
        found |= {str(space.get("ns")).partition(".")[2]} if isinstance(space, dict) else set()
    stages = command.get("pipeline") if name == "aggregate" else None
    for stage in stages if isinstance(stages, list) else ():
        into = (stage.get("$out") or stage.get("$merge")) if isinstance(stage, dict) else None
        into = into.get("into", into) if isinstance(into, dict) else into
        found |= {str(into.get("coll") if isinstance(into, dict) else into)} if into else set()
    return found
