"""A MongoDB migration file: one array of commands in Extended JSON, with the place of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import bson
from bson.errors import BSONError

from orchestrator.engines.checks import ENSURE, REQUIRE
from orchestrator.engines.mongo.allowed_commands import refuse_forbidden
from orchestrator.engines.mongo.checks import EXAMPLE, kind_of, read_check
from orchestrator.engines.mongo.command_names import KNOWN
from orchestrator.engines.mongo.extended_json import bad_scalar, read_value, refuse, skip_space
from orchestrator.engines.mongo.squash import replaced
from orchestrator.engines.mongo.transactions import is_repeatable, may_commit, may_commit_together
from orchestrator.model import Checks, File, Script, Statement
from orchestrator.patterns import regex
from orchestrator.records import replace

# Of BSON. A document may have 16 MiB in every release, and the command around it 16 KiB more, of which the driver needs some.
_MAX_COMMAND_BYTES = 16 * 2**20 + 15 * 1024
_LOOKS_LIKE_JAVASCRIPT = regex(r"\s*(db\.|use |//|/\*|const |let |var |function|module\.|export |print\()")
_DIRECTIONS = regex(r'(?i)"(up|down)"\s*:\s*[\[{]')
TEMPLATE = {"orch": "template"}
_EXAMPLE = '[{"create": "things"}]'


def parse_commands(file: File, text: str) -> Script:
    """Return the commands of a file. InvalidError with file, line and column for anything that is not one array of them."""
    start = skip_space(text, 0)
    if start == len(text):
        refuse(file, text, 0, "the file is empty", "a MongoDB migration is a JSON array of commands; [] does nothing")
    if _LOOKS_LIKE_JAVASCRIPT.match(text):
        refuse(file, text, start, "this is JavaScript", "write a JSON array of database commands, as in: " + _EXAMPLE)
    if text[start] == "{" and len({word.lower() for word in _DIRECTIONS.findall(text)}) > 1:
        hint = "write the array with the commands of up into a file .up.json, and that of down into one .down.json beside it"
        refuse(file, text, start, "this file has both directions (up and down) in one object", hint)
    if text[start] != "[":
        refuse(file, text, start, "the file must hold one JSON array of commands", "put [ and ] around it")
    statements: list[Statement] = []
    asked: dict[str, list[Statement]] = {REQUIRE: [], ENSURE: []}
    sizes: list[int] = []
    position = skip_space(text, start + 1)
    line, seen = 1, 0
    while text[position : position + 1] != "]":
        if statements or any(asked.values()):
            if text[position : position + 1] != ",":
                refuse(file, text, position, "',' or ']' expected", "the array, or a command in it, is not closed")
            position = skip_space(text, position + 1)
            if text[position : position + 1] == "]":
                refuse(file, text, position, "a comma before ']'", "JSON allows no trailing comma")
        line += text.count("\n", seen, position)
        seen = position
        statement, size, position = _command(file, text, position, line)
        if kind := kind_of(statement.body.get("comment")):
            check = _check(file, text, statement, kind, statements, asked)
            asked[kind].append(check)
            command = {key: value for key, value in statement.body.items() if key != "comment"}
            statement = replace(statement, body=command)
        elif asked[ENSURE]:
            refuse(file, text, statement.offset, "this command stands below an 'ensure'", "move the check to the end")
        if not kind or next(iter(statement.body)) != "ping":
            statements.append(statement)
            sizes.append(size)
        position = skip_space(text, position)
    rest = skip_space(text, position + 1)
    if rest < len(text):
        refuse(file, text, rest, "something follows the array of commands", "it would never run: put it into the array")
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
        refuse(file, text, place, f"this is not a check: {error}", hint)
    if kind == REQUIRE and (above or asked[ENSURE]):
        refuse(
            file, text, place, "a 'require' below a command would be asked too late", "move it to the top of the file"
        )
    return Statement(statement.source, body, place, statement.line, atomic=True)


def _unknown(file: File, statements: Sequence[Statement]) -> Iterator[str]:
    """Yield what to know of commands that MongoDB 4.4 to 8.0 do not have: a later release may."""
    for statement in statements:
        name = next(iter(statement.body))
        if name not in KNOWN:
            yield f"{file.path}:{statement.line}: MongoDB 4.4 to 8.0 have no command {json.dumps(name)}"


def _command(file: File, text: str, start: int, line: int) -> tuple[Statement, int, int]:
    """Return the command that begins at `start`, its size in bytes of BSON, and where it ends."""
    command, end = read_value(file, text, start)
    if not isinstance(command, dict) or not command:
        refuse(file, text, start, "a command must be a JSON object that is not empty", "as in: " + _EXAMPLE)
    if command.keys() == {"comment"}:
        hint = 'a command that does nothing is: {"ping": 1, "comment": …}'
        refuse(file, text, start, "this object has a comment and no command", hint)
    if command.get("comment") == TEMPLATE:  # where it stands first, it was taken away when the values were put in
        hint = f'begin the file with [{{"ping": 1, "comment": {json.dumps(TEMPLATE)}}}, …'
        refuse(file, text, start, "only the first command can say that the file is a template", hint)
    if replaced(command.get("comment")) is not None:
        del command["comment"]  # it is said of the file, to whoever reads all files of a database
    refuse_forbidden(file, text, start, text[start:end], command)
    try:
        size = len(bson.encode(command))
    except (BSONError, ValueError, OverflowError, RecursionError) as error:
        place, what = bad_scalar(text, start, len(text)) or (start, str(error))
        refuse(file, text, place, f"this command cannot be written as BSON: {what}", "correct that value")
    if size > _MAX_COMMAND_BYTES:
        what = f"this command takes {size / 2**20:.1f} MiB as BSON, and MongoDB takes little more than 16"
        refuse(file, text, start, what, "make several of it, each with some of the documents")
    statement = Statement(
        text[start:end], command, start, line, atomic=may_commit(command), repeatable=is_repeatable(command)
    )
    return statement, size, end
