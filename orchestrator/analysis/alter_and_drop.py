"""Read ALTER and DROP of whatever kind of object into facts; ALTER TABLE has a module of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from orchestrator.analysis.alter_table import read_alter_table
from orchestrator.analysis.facts import Fact
from orchestrator.analysis.words import STRING, Words


def read_alter(words: Words, at: int) -> Iterator[Fact]:
    """Yield the facts of an ALTER; the cursor stands behind that word."""
    if words.take("TABLE") or words.take("FOREIGN", "TABLE"):
        yield from read_alter_table(words, at)
    elif words.take("MATERIALIZED", "VIEW"):
        yield from read_alter_table(words, at, "materialized view")
    elif words.take("VIEW"):
        yield from read_alter_table(words, at, "view")
    elif words.take("DOMAIN"):
        yield _alter_domain(words, at)
    elif words.take("TYPE"):
        yield from _alter_type(words, at)
    elif kind := words.take_one(
        "INDEX", "SEQUENCE", "SCHEMA", "FUNCTION", "PROCEDURE", "TRIGGER", "POLICY", "RULE", "DATABASE", "ROLE", "USER"
    ):
        words.take("IF", "EXISTS")
        name = words.name()
        rest = words.rest()
        if "RENAME" in rest:
            yield Fact(
                "rename other",
                at,
                name=name,
                text=kind.lower(),
                others=(words.within(words.size - 1, words.size).name(),),
            )
        elif kind == "INDEX" and words.take("SET", "TABLESPACE"):
            yield Fact("index tablespace", at, name=name)


def _alter_domain(words: Words, at: int) -> Fact:
    name = words.name()
    if words.take("ADD"):
        rest = words.rest()
        valid = not any(pair == ("NOT", "VALID") for pair in pairwise(rest))
        return Fact("domain add", at, name=name, flags=frozenset({"valid"} if valid else ()))
    if words.take("VALIDATE"):
        return Fact("domain validate", at, name=name)
    if words.take("SET", "NOT", "NULL"):
        return Fact("domain not null", at, name=name)
    if words.take("RENAME", "TO"):
        return Fact("rename other", at, name=name, text="domain", others=(words.name(),))
    return Fact("domain other", at, name=name)


def _alter_type(words: Words, at: int) -> Iterator[Fact]:
    name = words.name()
    if words.take("ADD", "VALUE"):
        words.take("IF", "NOT", "EXISTS")
        value = words.literal(words.i) if words.peek() == STRING else ""
        yield Fact("add value", at, name=name, text=value)
    elif "DROP" in words.rest():
        for first, last in words.parts(words.i, words.size):
            part = words.within(first, last)
            if part.take("DROP", "ATTRIBUTE"):
                part.take("IF", "EXISTS")
                yield Fact("drop attribute", at, name=name, text=part.name())
    elif words.take("RENAME"):
        value = "type value" if words.take("VALUE") else "type attribute" if words.take("ATTRIBUTE") else "type"
        new = words.name() if value == "type" and words.take("TO") else ""
        yield Fact("rename other", at, name=name, text=value, others=(new,) if new else ())


_DROPPED = [
    "TABLE",
    "SCHEMA",
    "DATABASE",
    "VIEW",
    "SEQUENCE",
    "INDEX",
    "TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "ROUTINE",
    "AGGREGATE",
    "EXTENSION",
    "TRIGGER",
    "RULE",
    "POLICY",
    "OWNED",
    "COLLATION",
    "OPERATOR",
    "SERVER",
    "LANGUAGE",
    "CAST",
    "ROLE",
    "USER",
    "STATISTICS",
    "PUBLICATION",
]


def read_drop(words: Words, at: int) -> Iterator[Fact]:
    """Yield the fact of a DROP; the cursor stands behind that word."""
    if words.take("MATERIALIZED", "VIEW"):
        kind = "materialized view"
    else:
        words.take("FOREIGN")
        kind = words.take_one(*_DROPPED).lower()
    if not kind:
        return
    flags = {"cascade"} if "CASCADE" in words.rest() else set()
    if words.take("CONCURRENTLY"):
        flags.add("concurrently")
    if words.take("IF", "EXISTS"):
        flags.add("if exists")
    if kind == "owned":
        words.take("BY")
    if kind in ("trigger", "rule", "policy"):
        name = words.name()
        words.take("ON")
        yield Fact(f"drop {kind}", at, words.name(), name, frozenset(flags))
        return
    yield Fact(f"drop {kind}", at, flags=frozenset(flags), others=tuple(words.names()))
