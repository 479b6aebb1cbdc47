"""Read CREATE statements into facts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from orchestrator.analysis.columns import read_elements
from orchestrator.analysis.facts import Fact
from orchestrator.analysis.types import read_type
from orchestrator.analysis.words import STRING, Words, identifier


def read_create(words: Words, at: int) -> Iterator[Fact]:
    """Yield what a CREATE makes; the cursor is behind that word."""
    replaces = words.take("OR", "REPLACE")
    words.take_one("GLOBAL", "LOCAL")
    flags = {"temp"} if words.take_one("TEMP", "TEMPORARY") else set()
    words.take_one("UNLOGGED", "FOREIGN", "RECURSIVE")
    if words.take("TABLE"):
        yield _create_table(words, at, flags)
    elif words.any_of("UNIQUE", "INDEX"):
        yield _create_index(words, at)
    elif words.take("MATERIALIZED", "VIEW"):
        if words.take("IF", "NOT", "EXISTS"):
            flags.add("if not exists")
        yield Fact("create materialized view", at, words.name(), flags=frozenset(flags), body=words.source)
    elif words.take("VIEW"):
        if replaces:
            flags.add("replace")
        yield Fact("create view", at, words.name(), flags=frozenset(flags), body=words.source)
    elif words.take_one("FUNCTION", "PROCEDURE"):
        yield _create_function(words, at, replaces)
    elif words.take("DOMAIN"):
        yield _create_domain(words, at)
    elif words.take("TYPE"):
        name = words.name()
        enum = words.take("AS", "ENUM")
        yield Fact("create type", at, name=name, flags=frozenset({"enum"} if enum else ()))
    elif words.take("SEQUENCE"):
        words.take("IF", "NOT", "EXISTS")
        yield Fact("create sequence", at, name=words.name())
    elif words.take("SCHEMA"):
        if words.take("IF", "NOT", "EXISTS"):
            flags.add("if not exists")
        yield Fact("create schema", at, name=words.name(), flags=frozenset(flags))
    elif words.take_one("TRIGGER", "CONSTRAINT"):
        words.take("TRIGGER")
        yield _create_trigger(words, at)


def _create_table(words: Words, at: int, flags: set[str]) -> Fact:
    if words.take("IF", "NOT", "EXISTS"):
        flags.add("if not exists")
    table = words.name()
    fact = Fact("create table", at, table)
    if words.take("PARTITION", "OF"):
        fact.name = words.name()
        if words.any_of("("):
            start, end = words.group()
            fact.columns, fact.constraints, _ = read_elements(words, start, end)
        flags.add("partition")
        if words.any_of("DEFAULT"):
            flags.add("default")
    elif words.take("OF"):
        words.name()
    if words.any_of("("):
        start, end = words.group()
        fact.columns, fact.constraints, fact.others = read_elements(words, start, end)
    rest = words.rest()
    if words.take("INHERITS"):
        start, end = words.group()
        fact.name = words.within(start, end).name()
        flags.add("inherits")
    if (
        "BY" in rest
        and "PARTITION" in rest
        and rest[rest.index("PARTITION") + 1 : rest.index("PARTITION") + 2] == ["BY"]
    ):
        flags.add("partitioned")
    fact.flags = frozenset(flags)
    return fact


def _create_index(words: Words, at: int) -> Fact:
    flags = {"unique"} if words.take("UNIQUE") else set()
    words.take("INDEX")
    if words.take("CONCURRENTLY"):
        flags.add("concurrently")
    if words.take("IF", "NOT", "EXISTS"):
        flags.add("if not exists")
    name = "" if words.any_of("ON") else words.name()
    words.take("ON")
    if words.take("ONLY"):
        flags.add("only")
    table = words.name()
    if words.take("USING"):
        words.i += 1
    columns: list[str] = []
    mentions: list[str] = []
    if words.any_of("("):
        start, end = words.group()
        for first, last in words.parts(start, end):
            part = words.within(first, last)
            columns.append(part.name())
            if part.peek() == "(" or words.words[first] == "(":
                mentions += words.words[first:last]
    rest = words.rest()
    if "WHERE" in rest:
        mentions += rest[rest.index("WHERE") + 1 :]
    named = tuple(identifier(word) for word in mentions if word[0].isalpha() or word[0] in '_"')
    return Fact("create index", at, table, name, frozenset(flags), others=tuple(columns), words=named)


def _create_function(words: Words, at: int, replaces: bool) -> Fact:
    name = words.name()
    if words.any_of("("):
        words.group()
    rest = words.rest()
    language = rest[rest.index("LANGUAGE") + 1].lower().strip('"') if "LANGUAGE" in rest[:-1] else "sql"
    body = ""
    if language == STRING:
        at_language = words.i + rest.index("LANGUAGE") + 1
        language = words.literal(at_language).lower()
    if "AS" in rest:
        at_body = words.i + rest.index("AS") + 1
        if at_body < words.size and words.words[at_body] == STRING:
            body = words.literal(at_body)
    flags = {word.lower() for word in ("IMMUTABLE", "STABLE", "VOLATILE") if word in rest}
    if replaces:
        flags.add("replace")
    inner = tuple(rest) if language == "sql" and not body else tuple(Words(body).words) if language == "sql" else ()
    return Fact("create function", at, name=name, flags=frozenset(flags), text=language, words=inner, body=body)


def _create_domain(words: Words, at: int) -> Fact:
    name = words.name()
    words.take("AS")
    kind = read_type(words)
    rest = words.rest()
    constrained = "CHECK" in rest or any(pair == ("NOT", "NULL") for pair in pairwise(rest))
    flags = {"constrained"} if constrained else set()
    if "DEFAULT" in rest:
        flags.add("default")
    return Fact("create domain", at, name=name, type=kind, flags=frozenset(flags))


def _create_trigger(words: Words, at: int) -> Fact:
    name, rest = words.name(), words.rest()
    table = function = ""
    if "ON" in rest:
        table = words.within(words.i + rest.index("ON") + 1, words.size).name()
    for word in ("FUNCTION", "PROCEDURE"):
        if word in rest:
            function = words.within(words.i + rest.index(word) + 1, words.size).name()
    return Fact("create trigger", at, table, name, text=function)
