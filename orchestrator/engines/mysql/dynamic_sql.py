"""Texts that become statements while a file runs in a copy: by PREPARE, EXECUTE IMMEDIATE, or a procedure that is called.

What a statement at the top of a file executes is asked of the server just before it runs (`given_texts`). What a procedure
prepares can only be read: where it takes the text from a table, no copy calls it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any

from orchestrator.engines.base import Routine
from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.lexer import COMPOUND, Token, name_of
from orchestrator.engines.mysql.reader import tokens_of
from orchestrator.engines.mysql.records import text

_SCHEMAS = ("information_schema", "performance_schema")
_NAME = 64  # characters of the name of a database, at most
_OTHERS = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME <> DATABASE()"
_FROM_A_TABLE = "executes a text that is in a table"
_NAMED_LATER = "executes a text in which a database is named that only the server knows"
_ENCODED = "executes a text that is encoded"
_DECODES = frozenset({"aes_decrypt", "des_decrypt", "from_base64", "reverse", "uncompress", "unhex"})
_LONG = 16  # hexadecimal digits: the shortest statement that reaches another database has more
HOLE, OWN = "\ufffc", "\ufffb"
"""In a joined text they stand for what only the server knows, and for the name of the database that it runs in."""
_FIRST_PARAMETER = 0xE000
"""The character that stands for the first parameter of a procedure; the next ones stand for the others."""
_HOLES = f"{HOLE}\ue000-\uf8ff"
_HOLE_IS_A_DATABASE = re.compile(rf"([{_HOLES}])`?\s*\.\s*[\w`{_HOLES}]")
_NAMES_OF_OWN = (["database", "(", ")"], ["schema", "(", ")"])
_PLAIN = (
    "_binary _latin1 _utf8 _utf8mb3 _utf8mb4 and as ascii between binary case cast char character charset coalesce "
    "collate concat concat_ws convert curdate current_date database date_add date_format date_sub day div else elt "
    "end false field format from_base64 greatest hex if ifnull in insert instr interval is lcase least left length "
    "like locate lower lpad ltrim mid mod month not null nullif or quote repeat replace reverse right rpad rtrim "
    "schema set space substr substring substring_index then to_base64 trim true ucase unhex upper user using utf8 "
    "utf8mb3 utf8mb4 version when year"
)
_SETTLED = frozenset(_PLAIN.split())
"""Words of an expression that has the same value when it is evaluated twice, and that changes nothing."""


def given_texts(connection: Any, source: str) -> list[str]:
    """Return the texts that a statement executes, or gives to a procedure, as the session has them now.

    Leaves out an expression that is not settled: evaluating it here, too, could change what runs.
    """
    tokens = tokens_of(source)
    if expression := _expression(tokens):
        asked = [source[expression[0].start : expression[-1].end]] if is_settled(source) else []
    elif [token.text for token in tokens[:1]] == ["call"]:
        computed = [one for one in arguments_of(tokens) if len(one) > 1 and are_settled(one)]
        asked = list(dict.fromkeys([*_variables(tokens), *(source[one[0].start : one[-1].end] for one in computed)]))
    else:
        asked = []
    if not asked:
        return []
    (row,) = ask(connection, f"SELECT {', '.join(asked)}")
    return [
        cell.decode(errors="replace") if isinstance(cell, bytes) else cell
        for cell in row
        if isinstance(cell, str | bytes)
    ]


def is_settled(source: str) -> bool:
    """Whether the expression that a statement executes has the same value each time, and evaluating it changes nothing."""
    return are_settled(_expression(tokens_of(source)))


def are_settled(asked: list[Token]) -> bool:
    """Whether an expression has the same value each time that it is asked for, and asking changes nothing."""
    return all(
        token.text in _SETTLED if token.kind == "word" else not token.text.startswith((":", "@@"))
        for token in asked
        if token.kind != "quoted"
    ) and all(
        [one.text for one in asked[:at]][-2:].count("@") == 1 and asked[at - 1].text == "@"
        for at, token in enumerate(asked)
        if token.kind == "quoted"
    )


def _expression(tokens: list[Token]) -> list[Token]:
    """Return the expression whose value a statement executes; none if it is not PREPARE or EXECUTE IMMEDIATE."""
    words = [token.text for token in tokens[:3]]
    if words[:1] == ["prepare"] and words[2:3] == ["from"]:
        return tokens[3:]
    if words[:2] != ["execute", "immediate"]:
        return []
    depth = 0
    for at, token in enumerate(tokens):
        depth += (token.text == "(") - (token.text == ")")
        if token.kind == "word" and token.text == "using" and not depth:
            return tokens[2:at]
    return tokens[2:]


def other_database(connection: Any, source: str, texts: Collection[str]) -> str:
    """Return the first text given to a procedure that is the name of another database of the server; '' if none is."""
    given = [one for one in texts if 0 < len(one) <= _NAME]
    if not given or [token.text for token in tokens_of(source)[:1]] != ["call"]:
        return ""
    names = ", ".join(map(text, given))
    found = {str(name).lower() for (name,) in ask(connection, f"{_OTHERS} AND SCHEMA_NAME IN ({names})")}
    return next((one for one in given if one.lower() in found), "")


def _variables(tokens: list[Token]) -> Iterator[str]:
    for at, token in enumerate(tokens):
        if token.kind == "variable" and not token.text.startswith("@@"):
            yield token.text
        elif token.text == "@" and at + 1 < len(tokens) and tokens[at + 1].kind in ("quoted", "text"):
            yield f"@{tokens[at + 1].text}"


def prepares(tokens: list[Token]) -> bool:
    """Whether a statement executes texts, or a body in it does."""
    return any(token.kind == "word" and token.text in ("prepare", "immediate") for token in tokens)


def joined(tokens: list[Token], own: Collection[str] = (), parameters: Sequence[str] = ()) -> str:
    """Return the texts of a statement as one, as CONCAT makes it, with a hole for all that stands between them.

    `own` are names for the database that it runs in, and each parameter has a hole of its own.
    """
    texts = [at for at, token in enumerate(tokens) if token.kind == "text"]
    result = ""
    for before, at in pairwise([_before_first(tokens, texts), *texts]):
        between = [name_of(token).lower() for token in tokens[before + 1 : at]]
        names = [name for name in between if name not in (",", ".")]
        if {"database", "schema"} & set(names) or (names and names[-1] in own):
            result += OWN
        elif len(names) == 1 and names[0] in parameters:
            result += chr(_FIRST_PARAMETER + parameters.index(names[0]))
        elif between and between != [","]:
            result += HOLE
        result += name_of(tokens[at])
    return result


def _before_first(tokens: list[Token], texts: list[int]) -> int:
    """Return the token after which arguments stand before the first text, as in CONCAT(name, '.a')."""
    at = texts[0] - 1 if texts else -1
    if at < 0 or tokens[at].text != ",":
        return at
    return next((back for back in range(at, -1, -1) if tokens[back].text in ("(", ";", "=")), -1)


def why_unknown(tokens: list[Token], parameters: Sequence[str] = ()) -> tuple[str, frozenset[int]]:
    """Return why nobody can read what a body executes, and which parameters it takes for the names of databases.

    The first is '' if what it executes can be read, names its tables alone, or is known when the parameters are.
    """
    if not prepares(tokens):
        return "", frozenset()
    if _takes_from_a_table(tokens):
        return _FROM_A_TABLE, frozenset()
    if any(_is_encoded(tokens[at : at + 4]) for at in range(len(tokens))):
        return _ENCODED, frozenset()
    own = own_names(tokens)
    found = set(_HOLE_IS_A_DATABASE.findall(joined(tokens, own | _own_columns(tokens, own), parameters)))
    places = frozenset(ord(mark) - _FIRST_PARAMETER for mark in found - {HOLE})
    given = {name for name, _ in _assignments(tokens)}
    if HOLE in found or _joins_by_a_dot(tokens) or any(parameters[place] in given for place in places):
        return _NAMED_LATER, frozenset()
    return "", places


def _is_encoded(tokens: list[Token]) -> bool:
    """Whether a text that is not readable as it stands begins here: UNHEX('…'), CHAR(68, 69), 0x4445."""
    words = [token.text for token in tokens]
    if words[1:2] == ["("]:
        return words[0] in _DECODES or (words[0] == "char" and words[3:] == [","])
    is_text = [token.kind for token in tokens[1:2]] == ["text"]
    hexadecimal = words[0][2:] if words[0][:2] == "0x" else words[1][1:-1] if words[0] == "x" and is_text else ""
    return len(hexadecimal) >= _LONG


def own_names(tokens: list[Token]) -> set[str]:
    """Return the variables to which a body gives DATABASE() and nothing else, in lower case."""
    given: dict[str, bool] = {}
    for name, value in _assignments(tokens):
        words = [token.text for token in value[:4]]
        is_own = words[:3] in _NAMES_OF_OWN and words[3:] in ([], [";"], [","])
        given[name] = given.get(name, True) and is_own
    # A routine that is called may change the variables that it is given.
    return set() if called(tokens) else {name for name, is_own in given.items() if is_own}


def _own_columns(tokens: list[Token], own: Collection[str]) -> set[str]:
    """Return the column of the names of databases, if each query of a body asks for the own one."""
    words = [name_of(token).lower() for token in tokens]
    asked = sum(
        words[at] == "table_schema" and words[at + 1] == "=" and words[at + 2] in {"database", "schema", *own}
        for at in range(len(words) - 2)
    )
    return {"table_schema"} if asked >= words.count("information_schema") and "or" not in words else set()


def _assignments(tokens: list[Token]) -> Iterator[tuple[str, list[Token]]]:
    """Yield the names that get a value, in lower case, each with what follows: none for INTO and FETCH."""
    declared = ""
    for at, token in enumerate(tokens):
        after = [one.text for one in tokens[at + 1 : at + 3]]
        name = name_of(token).lower()
        if token.kind not in ("word", "quoted", "variable"):
            continue
        if after == [":", "="] or (after[:1] == ["="] and at and tokens[at - 1].text in ("set", ",")):
            yield name, tokens[at + 1 + after.index("=") + 1 :]
        elif name == "declare":
            declared = name_of(tokens[at + 1]).lower() if after else ""
        elif name == "default" and declared:
            yield declared, tokens[at + 1 :]
        elif name == "into":
            for one in tokens[at + 1 :]:
                if one.kind not in ("word", "quoted", "variable") and one.text != ",":
                    break
                yield name_of(one).lower(), []


def _joins_by_a_dot(tokens: list[Token]) -> bool:
    """Whether CONCAT_WS puts a dot between names: CONCAT_WS('.', name, 'a')."""
    return any(
        token.text == "concat_ws" and [name_of(one).strip("` ") for one in tokens[at + 2 : at + 3]] == ["."]
        for at, token in enumerate(tokens)
    )


def _takes_from_a_table(tokens: list[Token]) -> bool:
    """Whether a body that executes texts has some that come from the rows of a table."""
    words = [token.text if token.kind == "word" else "" for token in tokens]
    if not {"into", "fetch"} & set(words):
        return False
    for at, word in enumerate(words[:-1]):
        if (
            word in ("from", "join")
            and tokens[at + 1].kind in ("word", "quoted")
            and words[max(0, at - 2)] != "prepare"
        ):
            if word == "from" and "fetch" in words[max(0, at - 2) : at]:  # FETCH NEXT FROM a cursor
                continue
            if name_of(tokens[at + 1]).lower() not in (*_SCHEMAS, "dual"):
                return True
    return False


def routine(tokens: list[Token]) -> Routine | None:
    """Return the procedure that a statement creates."""
    words = [token.text if token.kind == "word" else "" for token in tokens]
    if words[0] != "create" or "procedure" not in words[:12]:
        return None
    at = words.index("procedure") + 1
    at += 3 if words[at : at + 3] == ["if", "not", "exists"] else 0
    at += 2 if [token.text for token in tokens[at + 1 : at + 2]] == ["."] else 0
    if at >= len(tokens):
        return None
    why, databases = why_unknown(tokens[at:], _parameters_of(tokens[at:]))
    return Routine(name_of(tokens[at]).lower(), why, frozenset(called(tokens[at:])), prepares(tokens), databases)


def _parameters_of(tokens: list[Token]) -> list[str]:
    """Return the names of the parameters of a procedure, in lower case. `tokens` begin with its name."""
    listed = arguments_of(tokens)
    named = [[name_of(one).lower() for one in part] for part in listed]
    return [next((name for name in part if name not in ("in", "out", "inout")), "") for part in named]


def arguments_of(tokens: list[Token]) -> list[list[Token]]:
    """Return the parts of the first list in brackets."""
    found: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if depth == 1 and token.text == ",":
            found.append([])
        elif depth and (depth > 1 or token.text != "("):
            found[-1].append(token)
        elif token.text == ")":
            break
    return found


def is_own_name(argument: list[Token]) -> bool:
    """Whether an argument is the database that the statement runs in, or a variable: that is checked when it runs."""
    is_variable = len(argument) == 1 and argument[0].kind == "variable" and not argument[0].text.startswith("@@")
    return is_variable or [token.text for token in argument] in _NAMES_OF_OWN


def called(tokens: list[Token]) -> set[str]:
    """Return the procedures that a statement calls, or the body in it does, in lower case."""
    found = set()
    for at, token in enumerate(tokens[:-1]):
        if token.kind == "word" and token.text == "call":
            end = at + 3 if [one.text for one in tokens[at + 2 : at + 3]] == ["."] else at + 1
            found |= {name_of(one).lower() for one in tokens[end : end + 1]}
    return found


def runs_a_body(tokens: list[Token]) -> bool:
    """Whether a statement is a block that runs at once, as MariaDB takes it."""
    return tokens[0].kind == "word" and (tokens[0].text == "begin" or tokens[0].text in COMPOUND)
