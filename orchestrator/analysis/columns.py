"""Parse column definitions and constraints of CREATE TABLE and ALTER TABLE into facts."""

from __future__ import annotations

from itertools import pairwise

from orchestrator.analysis.facts import Column, Constraint
from orchestrator.analysis.types import SERIAL, Type, read_type
from orchestrator.analysis.words import Words, identifier
from orchestrator.records import replace

_BEGINNINGS = frozenset(("CONSTRAINT", "PRIMARY", "UNIQUE", "EXCLUDE", "CHECK", "FOREIGN", "NOT"))
_TELLING = frozenset(("CONSTRAINT", "NOT", "DEFAULT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "GENERATED"))
_COLUMN_WORDS = frozenset(
    (
        *("CONSTRAINT", "NOT", "NULL", "DEFAULT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "GENERATED", "COLLATE"),
        *("STORAGE", "COMPRESSION", "DEFERRABLE", "INITIALLY"),
    )
)


def read_elements(
    words: Words, start: int, end: int
) -> tuple[tuple[Column, ...], tuple[Constraint, ...], tuple[str, ...]]:
    """Return columns, constraints, and tables after LIKE, of the bracket of a CREATE TABLE."""
    columns: list[Column] = []
    constraints: list[Constraint] = []
    likes: list[str] = []
    for first, last in words.parts(start, end):
        part = words.within(first, last)
        if part.take("LIKE"):
            likes.append(part.name())
        elif (constraint := read_constraint(part)) is not None:
            constraints.append(constraint)
        else:
            columns.append(read_column(part))
    return tuple(columns), tuple(constraints), tuple(likes)


def read_constraint(words: Words) -> Constraint | None:
    """Read a constraint of a table; None, and nothing is passed over, if none stands here."""
    at, name = words.i, ""
    if words.peek() not in _BEGINNINGS:
        return None
    if words.peek() == "CONSTRAINT":
        words.i += 1
        name = words.name()
    found = _table_constraint(words, name)
    if found is None:
        words.i = at
        return None
    rest = words.rest()
    invalid = any(pair == ("NOT", "VALID") for pair in pairwise(rest))
    unenforced = any(pair == ("NOT", "ENFORCED") for pair in pairwise(rest))
    return replace(found, valid=not invalid and not unenforced, enforced=not unenforced)


def _table_constraint(words: Words, name: str) -> Constraint | None:
    if words.take("PRIMARY", "KEY"):
        return _key(words, name, "primary key")
    if words.any_of("UNIQUE") and (name or words.peek(1) in ("(", "USING", "NULLS")):
        words.i += 1
        return _key(words, name, "unique")
    if words.any_of("EXCLUDE") and (name or words.peek(1) in ("(", "USING")):
        words.i += 1
        return Constraint("exclude", name)
    if words.any_of("CHECK") and words.peek(1) == "(":
        words.i += 1
        start, end = words.group()
        inside = words.words[start:end]
        return Constraint("check", name, not_null_of=_not_null_of(inside), mentions=frozenset(map(identifier, inside)))
    if words.take("FOREIGN", "KEY"):
        columns = _column_names(words)
        words.take("REFERENCES")
        references = words.name()
        referred = _column_names(words) if words.any_of("(") else ()
        return Constraint("foreign key", name, columns, references, referred)
    if words.take("NOT", "NULL"):
        return Constraint("not null", name, (words.name(),))
    return None


def _key(words: Words, name: str, kind: str) -> Constraint:
    if words.take("USING", "INDEX"):
        return Constraint(kind, name, index=words.name())
    words.take("NULLS", "NOT", "DISTINCT")
    words.take("NULLS", "DISTINCT")
    return Constraint(kind, name, _column_names(words) if words.any_of("(") else ())


def _column_names(words: Words) -> tuple[str, ...]:
    start, end = words.group()
    return tuple(words.within(first, last).name() for first, last in words.parts(start, end))


def _not_null_of(words: list[str]) -> frozenset[str]:
    """Return the columns of which a CHECK says, on its own or with AND, that they are not null."""
    while words[:1] == ["("] and _closes_at_end(words):
        words = words[1:-1]
    found: set[str] = set()
    part: list[str] = []
    depth = 0
    for word in [*words, "AND"]:
        depth += (word == "(") - (word == ")")
        if word == "OR" and not depth:
            return frozenset()
        if word == "AND" and not depth:
            while part[:1] == ["("] and part[-1:] == [")"]:
                part = part[1:-1]
            if len(part) == 4 and part[1:] == ["IS", "NOT", "NULL"]:
                found.add(Words(part[0]).name())
            part = []
        else:
            part.append(word)
    return frozenset(found)


def _closes_at_end(words: list[str]) -> bool:
    depth = 0
    for i, word in enumerate(words):
        depth += (word == "(") - (word == ")")
        if not depth:
            return i == len(words) - 1
    return False


def read_column(words: Words) -> Column:
    """Read a column: its name, its type, and what follows."""
    name = words.name()
    kind = Type("") if words.done or words.peek() in _COLUMN_WORDS else read_type(words)
    default: tuple[str, ...] = ()
    not_null = identity = False
    generated = ""
    constraints: list[Constraint] = []
    constraint_name = ""
    while not words.done:
        if words.peek() not in _TELLING:
            words.i += 1
        elif words.take("CONSTRAINT"):
            constraint_name = words.name()
        elif words.take("NOT", "NULL"):
            not_null = True
        elif words.take("DEFAULT"):
            default = tuple(_expression(words))
        elif words.take("PRIMARY", "KEY"):
            constraints.append(Constraint("primary key", constraint_name, (name,)))
            not_null = True
        elif words.take("UNIQUE"):
            constraints.append(Constraint("unique", constraint_name, (name,)))
        elif words.take("CHECK"):
            start, end = words.group()
            unenforced = words.take("NOT", "ENFORCED")
            inside = words.words[start:end]
            check = Constraint("check", constraint_name, valid=not unenforced, enforced=not unenforced)
            constraints.append(
                replace(check, not_null_of=_not_null_of(inside), mentions=frozenset(map(identifier, inside)))
            )
        elif words.take("REFERENCES"):
            references = words.name()
            referred = _column_names(words) if words.any_of("(") else ()
            constraints.append(Constraint("foreign key", constraint_name, (name,), references, referred))
        elif words.take("GENERATED"):
            identity, generated = _generated(words)
        else:
            words.i += 1
    base = SERIAL.get(kind.name)
    if base:
        kind = replace(kind, name=base)
    return Column(
        name, kind, default, not_null or identity or bool(base), identity, generated, bool(base), tuple(constraints)
    )


def _generated(words: Words) -> tuple[bool, str]:
    """Read what follows GENERATED: whether it is an identity, and stored or virtual."""
    while not words.done and words.peek() not in ("IDENTITY", "("):
        words.i += 1
    if words.take("IDENTITY"):
        return True, ""
    words.group()
    return False, "stored" if words.take_one("STORED", "VIRTUAL") == "STORED" else "virtual"


def _expression(words: Words) -> list[str]:
    """Read a default's words, up to what cannot belong to it."""
    start = words.i
    while not words.done and (words.i == start or words.peek() not in _COLUMN_WORDS):
        if words.any_of("("):
            words.group()
        else:
            words.i += 1
    return words.words[start : words.i]
