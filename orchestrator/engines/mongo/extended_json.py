"""A MongoDB migration file: Extended JSON (canonical or relaxed), one array of commands, with the place of each."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import bson
from bson.errors import BSONError

from orchestrator.engines.checks import ENSURE, REQUIRE
from orchestrator.engines.mongo.checks import EXAMPLE, kind_of, read_check
from orchestrator.engines.mongo.command_names import KNOWN, OF_THE_SERVER, meant
from orchestrator.engines.mongo.extended_values import INT64, value_of
from orchestrator.engines.mongo.squash import replaced
from orchestrator.engines.mongo.transactions import (
    DATA_COMMANDS,
    DIRECTIVE,
    is_repeatable,
    may_commit,
    may_commit_together,
)
from orchestrator.errors import InvalidError
from orchestrator.hints import NAME, Blank, Command, Hint
from orchestrator.model import Checks, File, Mark, Script, Statement

# Of BSON. A document may have 16 MiB in every release, and the command around it 16 KiB more, of which the driver needs some.
MAX_COMMAND_BYTES = 16 * 2**20 + 15 * 1024
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]')
_SCALAR = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?(?:\d[\d.eE+-]*|Infinity)|NaN')
_HUGE = re.compile(r"\d[eE]\+?\d{3}|\d{300}")  # perhaps a number that no double holds
_SPECIFICATION = "see the MongoDB Extended JSON (v2) specification"
_LOOKS_LIKE_JAVASCRIPT = re.compile(r"\s*(db\.|use |//|/\*|const |let |var |function|module\.|export |print\()")
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


def parse_commands(file: File, text: str) -> Script:
    """Return the commands of a file. InvalidError with file, line and column for anything that is not one array of them."""
    start = _skip(text, 0)
    if start == len(text):
        _refuse(file, text, 0, "the file is empty", "a MongoDB migration is a JSON array of commands; [] does nothing")
    if _LOOKS_LIKE_JAVASCRIPT.match(text):
        _refuse(file, text, start, "this is JavaScript", "write a JSON array of database commands, as in: " + _EXAMPLE)
    if text[start] != "[":
        _refuse(file, text, start, "the file must hold one JSON array of commands", "put [ and ] around it")
    statements: list[Statement] = []
    asked: dict[str, list[Statement]] = {REQUIRE: [], ENSURE: []}
    sizes: list[int] = []
    position = _skip(text, start + 1)
    line, seen = 1, 0
    while text[position : position + 1] != "]":
        if statements or any(asked.values()):
            if text[position : position + 1] != ",":
                _refuse(file, text, position, "',' or ']' expected", "the array, or a command in it, is not closed")
            position = _skip(text, position + 1)
            if text[position : position + 1] == "]":
                _refuse(file, text, position, "a comma before ']'", "JSON allows no trailing comma")
        line += text.count("\n", seen, position)
        seen = position
        statement, size, position = _command(file, text, position, line)
        if kind := kind_of(statement.body.get("comment")):
            check = _check(file, text, statement, kind, statements, asked)
            asked[kind].append(check)
            command = {key: value for key, value in statement.body.items() if key != "comment"}
            statement = replace(statement, body=command)
        elif asked[ENSURE]:
            _refuse(file, text, statement.offset, "this command stands below an 'ensure'", "move the check to the end")
        if not kind or next(iter(statement.body)) != "ping":
            statements.append(statement)
            sizes.append(size)
        position = _skip(text, position)
    rest = _skip(text, position + 1)
    if rest < len(text):
        _refuse(
            file, text, rest, "something follows the array of commands", "it would never run: put it into the array"
        )
    atomic = may_commit_together(zip((statement.body for statement in statements), sizes, strict=True))
    checks = Checks(tuple(asked[REQUIRE]), tuple(asked[ENSURE]))
    return Script(file, text, tuple(statements), atomic, notes=tuple(_unknown(file, statements)), checks=checks)


def _check(
    file: File,
    text: str,
    statement: Statement,
    kind: str,
    above: Sequence[Statement],
    asked: dict[str, list[Statement]],
) -> Statement:
    """Return the check that a command's comment is; InvalidError if it is none, or stands where it is not asked."""
    comment = text.find('"comment"', statement.offset, statement.offset + len(statement.source))
    place = max(comment, statement.offset)
    try:
        body = read_check(statement.body["comment"])
    except ValueError as error:
        hint = f'as in: {{"ping": 1, "comment": {json.dumps(EXAMPLE)}}}'
        _refuse(file, text, place, f"this is not a check: {error}", hint)
    if kind == REQUIRE and (above or asked[ENSURE]):
        _refuse(
            file, text, place, "a 'require' below a command would be asked too late", "move it to the top of the file"
        )
    return Statement(statement.source, body, place, statement.line, atomic=True)


def _unknown(file: File, statements: Sequence[Statement]) -> Iterator[str]:
    """Yield what to know of commands that MongoDB 4.4 to 8.0 do not have: a later release may."""
    for statement in statements:
        name = next(iter(statement.body))
        if name not in KNOWN:
            yield f"{file.path}:{statement.line}: MongoDB 4.4 to 8.0 have no command {json.dumps(name)}"


_EXAMPLE = '[{"create": "things"}]'


def entry_offset(source: str, array: str, index: int) -> int | None:
    """Return the offset of an entry, counted from 0, of a command's array of this name; None if it cannot be found."""
    try:
        position = _skip(source, source.index("{") + 1)
        while True:
            key, end = _DECODER.raw_decode(source, position)
            position = _skip(source, source.index(":", end) + 1)
            if key == array:
                break
            position = _next(source, position)
        if not source.startswith("[", position):
            return None
        position = _skip(source, position + 1)
        for _ in range(index):
            position = _next(source, position)
        _DECODER.raw_decode(source, position)  # it is there
    except (ValueError, RecursionError):
        return None
    return position


def _next(text: str, position: int) -> int:
    """Return where the member after the one at a position begins; ValueError if that is the last."""
    _, end = _DECODER.raw_decode(text, position)
    comma = _skip(text, end)
    if not text.startswith(",", comma):
        raise ValueError
    return _skip(text, comma + 1)


def _command(file: File, text: str, start: int, line: int) -> tuple[Statement, int, int]:
    """Return the command that begins at `start`, its size in bytes of BSON, and where it ends."""
    command, end = _value(file, text, start)
    if not isinstance(command, dict) or not command:
        _refuse(file, text, start, "a command must be a JSON object that is not empty", "as in: " + _EXAMPLE)
    _refuse_foreign(file, text, start, command)
    if replaced(command.get("comment")) is not None:
        del command["comment"]  # it is said of the file, to whoever reads all files of a database
    _refuse_directive(file, text, start, command.get("comment"))
    _refuse_entries(file, text[start:end], text, start, command)
    try:
        size = len(bson.encode(command))
    except (BSONError, ValueError, OverflowError, RecursionError) as error:
        place, what = _bad_scalar(text, start, len(text)) or (start, str(error))
        _refuse(file, text, place, f"this command cannot be written as BSON: {what}", "correct that value")
    if size > MAX_COMMAND_BYTES:
        what = f"this command takes {size / 2**20:.1f} MiB as BSON, and MongoDB takes little more than 16"
        _refuse(file, text, start, what, "make several of it, each with some of the documents")
    statement = Statement(
        text[start:end], command, start, line, atomic=may_commit(command), repeatable=is_repeatable(command)
    )
    return statement, size, end


def _value(file: File, text: str, start: int) -> tuple[Any, int]:
    """Return the value that begins at `start`, and where it ends."""
    closed = 0

    def value(pairs: list[tuple[str, Any]]) -> Any:
        nonlocal closed
        closed += 1
        return value_of(pairs)

    try:
        checked = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_refuse_constant)
        _, end = checked.raw_decode(text, start)
        if _HUGE.search(text, start, end) and (bad := _bad_scalar(text, start, end)):
            _refuse(file, text, bad[0], f"invalid Extended JSON: {bad[1]}", _SPECIFICATION)
        return json.JSONDecoder(object_pairs_hook=value).raw_decode(text, start)
    except _DuplicateKeyError as error:
        what, hint = f"the key {json.dumps(error.key)} stands twice", "JSON would keep the last only"
        _refuse(file, text, _duplicate(text, start), what, hint)
    except json.JSONDecodeError as error:
        hint = _hint(text, error.pos)
        _refuse(file, text, error.pos, f"invalid JSON: {error.msg[0].lower()}{error.msg[1:]}", hint)
    except RecursionError:
        _refuse(file, text, start, "nested too deeply", "MongoDB allows 100 levels")
    except (BSONError, ValueError, TypeError, ArithmeticError) as error:
        if closed:  # the object that was closed last is no value
            place, what = _closed(text, start, closed), str(error)
        else:
            place, what = _bad_scalar(text, start, len(text)) or (start, str(error))
        _refuse(file, text, place, f"invalid Extended JSON: {what}", _SPECIFICATION)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _bad_scalar(text: str, start: int, end: int) -> tuple[int, str] | None:
    """Return the place of the first number or string in this part that BSON cannot hold, and why; None if there is none."""
    for match in _SCALAR.finditer(text, start, end):
        piece = match[0]
        if piece[0] == '"':
            if "\\u" in piece and (what := _bad_text(piece, is_key=text.startswith(":", _skip(text, match.end())))):
                return match.start(), what
        elif piece in ("NaN", "Infinity", "-Infinity"):
            return match.start(), f'{piece} is not JSON: write {{"$numberDouble": "{piece}"}}'
        elif piece.lstrip("-").isdigit():
            if len(piece) > 20 or not -INT64 <= int(piece) < INT64:
                return match.start(), "this number has more than the 64 bits of the largest integer (8-byte ints)"
        elif _HUGE.search(piece) and _is_infinite(piece):
            return match.start(), "this number is larger than a double can be"
    return None


def _bad_text(piece: str, *, is_key: bool) -> str:
    try:
        content = json.loads(piece)
        content.encode()
    except UnicodeEncodeError:
        return "this string has half of a surrogate pair, which is no character"
    except ValueError:
        return ""
    return "a key cannot hold the character NUL" if is_key and "\0" in content else ""


def _is_infinite(piece: str) -> bool:
    try:
        return math.isinf(float(piece))
    except ValueError:
        return False


def _refuse_entries(file: File, source: str, text: str, start: int, command: dict[str, Any]) -> None:
    """Refuse what neither driver nor server could take: a collection that is no string, entries that are no objects."""
    name, collection = next(iter(command.items()))
    if name in WRITE_COMMANDS and not isinstance(collection, str):
        _refuse(file, text, start, f"'{name}' must name a collection", f'as in: {{"{name}": "things"}}')
    array = ENTRIES.get(name)
    if array is None:
        return
    entries = command.get(array, [])
    if not isinstance(entries, list):
        _refuse(
            file, text, start, f"'{array}' must be an array", 'as in: {"insert": "things", "documents": [{"a": 1}]}'
        )
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            place = start + (entry_offset(source, array, index) or 0)
            _refuse(file, text, place, f"what stands in '{array}' must be objects", "put { and } around it")


def _refuse_foreign(file: File, text: str, start: int, command: dict[str, Any]) -> None:
    """Refuse what is not a migration's to do: to remove or change the bookkeeping, or to speak for the driver."""
    name = next(iter(command))
    if name not in KNOWN and (known := meant(name)):
        _refuse(file, text, start, f"MongoDB has no command {json.dumps(name)}", f"did you mean {known}?")
    if name in OF_THE_SERVER:
        what = f"'{name}' runs in the database admin only, and is about the whole server: no migration of one database"
        _refuse(file, text, start, what, "do it once where the server is set up, or by hand")
    if name == "dropDatabase":
        hint = 'drop its collections one by one, as in: [{"drop": "things"}]'
        _refuse(file, text, start, "dropDatabase would drop the migration lock and the history too", hint)
    if mine := written(command) & _BOOKKEEPING:
        _refuse(file, text, start, f"'{name}' changes {mine.pop()}, which {OWNED}", OWNED_HINT)
    if fields := sorted(_OF_THE_DRIVER & command.keys()):
        _refuse(
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
        _refuse(file, text, start, what, hint)


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


class _DuplicateKeyError(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _no_duplicates(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise _DuplicateKeyError(key)
        seen.add(key)


def _duplicate(text: str, start: int) -> int:
    """Return the offset of the first key from `start` on that its object has already."""
    objects: list[set[str] | None] = []
    previous = ""
    for match in _TOKEN.finditer(text, start):
        piece = match[0]
        if piece in "{[":
            objects.append(set() if piece == "{" else None)
        elif piece in "}]":
            objects.pop()
        elif piece[0] == '"' and previous in "{," and objects and (keys := objects[-1]) is not None:
            key = json.loads(piece)
            if key in keys:
                return match.start()
            keys.add(key)
        previous = piece
    return start


def _closed(text: str, start: int, number: int) -> int:
    """Return the offset of the object that is, from `start` on, closed as the `number`-th."""
    opened: list[int] = []
    for match in _TOKEN.finditer(text, start):
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "}":
            place = opened.pop()
            number -= 1
            if number == 0:
                return place
    return start


def _hint(text: str, position: int) -> str:
    rest = text[position : position + 2]
    before = text[:position].rstrip()
    if before.endswith(",") or rest[:1] == ",":
        return "JSON allows no trailing comma"
    if rest[:1] == "'":
        return 'JSON strings stand in double quotes: "'
    if rest in ("//", "/*"):
        return "JSON has no comments"
    if rest[:1].isalpha():
        return 'a name or a call is not JSON: keys stand in double quotes, dates are {"$date": "..."}'
    return "a migration for MongoDB is JSON, not JavaScript"


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _refuse(file: File, text: str, offset: int, what: str, hint: str) -> NoReturn:
    raise InvalidError(what, where=Mark.at(file.path, text, min(offset, len(text))), hint=hint)
