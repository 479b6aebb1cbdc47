"""The tables that MySQL files made so far, and how names, clauses and columns are read from statements."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from orchestrator.analysis.columns_mysql import ColumnDefinition, read_column
from orchestrator.engines.mysql.lexer import Token, name_of
from orchestrator.records import dataclass, field

_PLAIN = re.compile(r"[A-Za-z0-9_$.]+")
NO_COLUMN = frozenset({"index", "key", "primary", "unique", "fulltext", "spatial", "constraint", "foreign", "check"})
"""What a clause of CREATE or ALTER TABLE begins with that defines no column."""


@dataclass
class Tables:
    """The tables that the files made so far: the number of its file, and its columns as far as they are told.

    `complete`: all files so far were read, so that what is not here is made elsewhere, or not at all.
    """

    number: int = -1
    pending_from: int = 0
    made: dict[str, int] = field(default_factory=dict)
    columns: dict[tuple[str, str], ColumnDefinition] = field(default_factory=dict)
    complete: bool = True

    def is_new(self, table: str) -> bool:
        """Whether the plan itself makes this table."""
        return self.made.get(table.lower(), -1) >= self.pending_from

    def forget(self, table: str) -> None:
        """Take note that a table is gone."""
        self.made.pop(table.lower(), None)
        for key in [key for key in self.columns if key[0] == table.lower()]:
            del self.columns[key]

    def rename(self, old: str, new: str) -> None:
        """Take note that a table has another name."""
        if old.lower() in self.made:
            self.made[new.lower()] = self.made.pop(old.lower())
        for key in [key for key in self.columns if key[0] == old.lower()]:
            self.columns[new.lower(), key[1]] = self.columns.pop(key)


def shown(name: str) -> str:
    """Return a name as a message has it."""
    return name if _PLAIN.fullmatch(name) else f"`{name}`"


def name_at(found: Sequence[Token], at: int) -> tuple[str, int]:
    """Return the name that stands here, and where it ends."""
    if at >= len(found):
        return "?", at
    if at + 2 < len(found) and found[at + 1].text == ".":
        return f"{name_of(found[at])}.{name_of(found[at + 2])}", at + 3
    return name_of(found[at]), at + 1


def inside(found: Sequence[Token], at: int) -> range:
    """Return what stands in the bracket that begins here."""
    if at >= len(found) or found[at].text != "(":
        return range(at, at)
    depth = 0
    for end in range(at, len(found)):
        depth += {"(": 1, ")": -1}.get(found[end].text, 0) if found[end].kind == "other" else 0
        if depth == 0:
            return range(at + 1, end)
    return range(at + 1, len(found))


def clauses_of(found: Sequence[Token], part: range) -> Iterator[list[Token]]:
    """Yield what stands between commas that are in no bracket."""
    clause: list[Token] = []
    depth = 0
    for token in (found[at] for at in part):
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "other" else 0
        if token.text == "," and token.kind == "other" and depth == 0:
            if clause:
                yield clause
            clause = []
        else:
            clause.append(token)
    if clause:
        yield clause


def columns_of(clause: Sequence[Token], at: int) -> Iterator[list[Token]]:
    """Yield the columns of ADD COLUMN a int, and of ADD (a int, b int)."""
    words = [token.text for token in clause]
    at += 3 if words[at : at + 3] == ["if", "not", "exists"] else 0
    if at < len(clause) and clause[at].text == "(":
        yield from clauses_of(clause, inside(clause, at))
    elif at < len(clause):
        yield list(clause[at:])


def take_column(tables: Tables, table: str, clause: Sequence[Token]) -> None:
    """Take note of the column that a clause defines, if it defines one."""
    if clause and not (clause[0].kind == "word" and clause[0].text in NO_COLUMN):
        column = read_column(clause)
        tables.columns[table.lower(), column.name.lower()] = column


def asked_for(words: Sequence[str]) -> str:
    """Return what ALGORITHM or LOCK asks for; of both the stricter one."""
    found = []
    for at, word in enumerate(words):
        if word in ("algorithm", "lock"):
            found.append(next((one for one in words[at + 1 : at + 3] if one), ""))
    order = ("instant", "none", "nocopy", "copy", "exclusive", "shared", "inplace")
    return next((one for one in order if one in found), "")
