"""Texts that become statements while a file runs in a copy: by PREPARE, EXECUTE IMMEDIATE, or a procedure that is called.

What a statement at the top of a file executes is asked of the server just before it runs (`given_texts`). What a procedure
prepares can only be read: where it takes the text from a table, no copy calls it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from orchestrator.engines.base import Routine
from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.lexer import COMPOUND, Token, name_of
from orchestrator.engines.mysql.reader import tokens_of

_SCHEMAS = ("information_schema", "performance_schema")
_FROM_A_TABLE = "executes a text that is in a table"
_NAMED_LATER = "executes a text in which a database is named that only the server knows"
HOLE, OWN = "\ufffc", "\ufffb"
"""What stand in a joined text for what only the server knows, and for the name of the database that it runs in."""
_HOLE_IS_A_DATABASE = re.compile(rf"{HOLE}`?\s*\.\s*[\w`{HOLE}]")


def given_texts(connection: Any, source: str) -> list[str]:
    """Return the texts that a statement executes, or gives to a procedure, as the session has them now."""
    tokens = tokens_of(source)
    words = [token.text for token in tokens[:4]]
    if words[:1] == ["prepare"] and words[2:3] == ["from"]:
        asked = [source[tokens[3].start : tokens[-1].end]] if len(tokens) > 3 else []
    elif words[:2] == ["execute", "immediate"]:
        using = next((one.start for one in tokens if one.kind == "word" and one.text == "using"), tokens[-1].end)
        asked = [source[tokens[1].end : using]]
    elif words[:1] == ["call"]:
        asked = list(dict.fromkeys(_variables(tokens)))
    else:
        return []
    if not asked:
        return []
    (row,) = ask(connection, f"SELECT {', '.join(asked)}")
    return [
        cell.decode(errors="replace") if isinstance(cell, bytes) else cell
        for cell in row
        if isinstance(cell, str | bytes)
    ]


def _variables(tokens: list[Token]) -> Iterator[str]:
    for at, token in enumerate(tokens):
        if token.kind == "variable" and not token.text.startswith("@@"):
            yield token.text
        elif token.text == "@" and at + 1 < len(tokens) and tokens[at + 1].kind in ("quoted", "text"):
            yield f"@{tokens[at + 1].text}"


def prepares(tokens: list[Token]) -> bool:
    """Whether a statement executes texts, or a body in it does."""
    return any(token.kind == "word" and token.text in ("prepare", "immediate") for token in tokens)


def joined(tokens: list[Token]) -> str:
    """Return the texts of a statement as one, as CONCAT makes it, with a hole for all that stands between them."""
    texts = [at for at, token in enumerate(tokens) if token.kind == "text"]
    result = "".join(name_of(tokens[at]) for at in texts[:1])
    for before, at in pairwise(texts):
        between = [token.text for token in tokens[before + 1 : at]]
        own = any(word in ("database", "schema") for word in between)
        result += ("" if between == [","] else OWN if own else HOLE) + name_of(tokens[at])
    return result


def why_unknown(tokens: list[Token]) -> str:
    """Return why nobody can read what a body executes; '' if that can be read, or names its tables alone."""
    if not prepares(tokens):
        return ""
    if _takes_from_a_table(tokens):
        return _FROM_A_TABLE
    return _NAMED_LATER if _HOLE_IS_A_DATABASE.search(joined(tokens)) else ""


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
    return Routine(
        name_of(tokens[at]).lower(), why_unknown(tokens[at:]), frozenset(called(tokens[at:])), prepares(tokens)
    )


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
