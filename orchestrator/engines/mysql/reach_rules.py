"""The rules by which `reach` finds statements that change more than their database: the server, logins, files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.engines.base import Reach
from orchestrator.engines.mysql.lexer import Token, name_of
from orchestrator.engines.mysql.reader import runs_others

OUTSIDE = "do this outside of migrations"
# Engines whose tables are somewhere else.
_ELSEWHERE = frozenset({"federated", "federatedx", "connect", "spider", "s3", "ndb", "ndbcluster"})
# What a CREATE, ALTER, DROP or RENAME is about; a table may be called user, too.
_DATABASE, _LOGIN = re.compile(r"(?:database|schema)\b"), re.compile(r"(?:user|role)\b")
_OF_THE_SERVER = re.compile(r"(?:server|tablespace|logfile group|instance|resource group|spatial reference)\b")
_PROGRAMS = frozenset({"sys_exec", "sys_eval", "sys_set", "sys_bineval"})  # of a known library of functions
# Held against tokens with a blank between them: what a SET reads, or has in a text, changes nothing.
_SERVER_WORDS = re.compile(
    r"(?i)(?:^set|,) (?:@ ?@ ?`?(?:global|persist|persist_only)`? ?\.|(?:global|persist|persist_only) )"
)


def _engines(words: list[str]) -> Iterator[int]:
    """Yield where the name of an engine may stand: behind ENGINE, or ENGINE =."""
    for at, word in enumerate(words):
        if word == "engine":
            yield from range(at + 1, min(at + 3, len(words)))


def _sets_the_server(words: list[str], tokens: list[Token]) -> bool:
    spelled = " ".join("''" if token.kind == "text" else token.text for token in tokens)
    return any(one in ("password", "default") for one in words[1:2]) or _SERVER_WORDS.search(spelled) is not None


def of_the_server(words: list[str], tokens: list[Token]) -> Iterator[tuple[str, Reach, str]]:
    """Yield what a statement, or one of a body, changes on its server: in words, how far it reaches, and a hint."""
    first, rest = words[0], words[1:6]
    replaces = rest[:2] == ["or", "replace"]
    kind = " ".join(words[3:5] if replaces else rest[1:3] if rest[:1] == ["undo"] else rest[:2])
    defines = first in ("create", "alter", "drop", "rename")
    if defines and _DATABASE.match(kind):
        yield f"{first.upper()} DATABASE changes the server", Reach.OTHER, OUTSIDE
    if first == "create" and not replaces and _LOGIN.match(kind):
        yield "CREATE USER adds to what all databases share", Reach.SERVER, ""
    elif defines and _LOGIN.match(kind):
        yield f"{first.upper()} USER changes what all databases share", Reach.OTHER, OUTSIDE
    elif first in ("grant", "revoke"):
        yield f"{first.upper()} changes what all databases share", Reach.OTHER, OUTSIDE
    elif first == "set" and _sets_the_server(words, tokens):
        yield "SET GLOBAL changes the server", Reach.OTHER, OUTSIDE
    elif (
        first in ("install", "uninstall", "purge", "flush", "reset", "kill", "shutdown", "restart", "change", "stop")
        or (defines and _OF_THE_SERVER.match(kind))
        or first in ("start", "import")
        or "soname" in words
    ):
        yield f"{first.upper()} changes the server", Reach.OTHER, OUTSIDE
    named = {name_of(tokens[at]).lower() for at in _engines(words)} if first in ("create", "alter") else set()
    if engine := _ELSEWHERE & named:
        yield f"a table of the engine {min(engine).upper()} is somewhere else", Reach.OTHER, OUTSIDE
    if any(word in _PROGRAMS and tokens[at + 1].text == "(" for at, word in enumerate(words[:-1])):
        yield "it runs a program of the server", Reach.OTHER, OUTSIDE
    if first in ("create", "alter") and "directory" in words and {"data", "index"} & set(words):
        yield "the files of its table are in a directory of the server", Reach.MAY, ""
    if "outfile" in words or "dumpfile" in words or (first == "load" and {"data", "xml"} & set(rest)):
        yield "it reads or writes a file of the server", Reach.OTHER, OUTSIDE
    if runs_others(words) and first != "execute":  # what that executes is looked at when it runs
        yield f"{first.upper()} may reach further than its text tells", Reach.MAY, ""
