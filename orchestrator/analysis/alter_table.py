"""Parse the comma-separated actions of ALTER TABLE into facts."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.analysis.columns import read_column, read_constraint
from orchestrator.analysis.facts import Fact
from orchestrator.analysis.types import read_type
from orchestrator.analysis.words import Words
from orchestrator.records import replace


def read_alter_table(words: Words, at: int, kind: str = "table") -> Iterator[Fact]:
    """Yield a fact for every action; the cursor is behind ALTER TABLE."""
    if words.take("ALL", "IN", "TABLESPACE"):
        yield Fact("set tablespace", at, name="all")
        return
    flags = {kind}
    if words.take("IF", "EXISTS"):
        flags.add("if exists")
    if words.take("ONLY"):
        flags.add("only")
    table = words.name()
    words.take("*")
    for number, (first, last) in enumerate(words.parts(words.i, words.size)):
        part = words.within(first, last)
        where = at if number == 0 else part.at
        for fact in _action(part, where):
            yield replace(fact, table=table, flags=fact.flags | flags)


def _action(words: Words, at: int) -> Iterator[Fact]:
    if words.take("ADD"):
        yield _add(words, at)
    elif words.take("DROP"):
        yield from _drop(words, at)
    elif words.any_of("ALTER"):
        words.i += 1
        yield from _alter(words, at)
    elif words.take("RENAME"):
        yield _rename(words, at)
    elif words.take("VALIDATE", "CONSTRAINT"):
        yield Fact("validate", at, name=words.name())
    elif words.take("ATTACH", "PARTITION"):
        name = words.name()
        yield Fact("attach", at, name=name, flags=frozenset({"default"} if words.any_of("DEFAULT") else ()))
    elif words.take("DETACH", "PARTITION"):
        name = words.name()
        yield Fact("detach", at, name=name, flags=frozenset({"concurrently"} if "CONCURRENTLY" in words.rest() else ()))
    elif words.take("SET"):
        yield from _set(words, at)
    elif words.take("INHERIT"):
        yield Fact("inherit", at, name=words.name())


def _add(words: Words, at: int) -> Fact:
    if not words.any_of("COLUMN"):
        constraint = read_constraint(words)
        if constraint is not None:
            return Fact("add constraint", at, name=constraint.name, constraint=constraint)
    words.take("COLUMN")
    flags = frozenset({"if not exists"} if words.take("IF", "NOT", "EXISTS") else ())
    column = read_column(words)
    return Fact("add column", at, name=column.name, column=column, flags=flags)


def _drop(words: Words, at: int) -> Iterator[Fact]:
    if words.any_of("INDEX", "KEY", "FOREIGN", "PRIMARY", "CHECK", "PARTITION") and _is_keyword(words):
        if words.take("PARTITION"):  # of MySQL, with its rows; the others lose none
            yield Fact("truncate", at, others=(words.name(),))
        return
    what = "drop constraint" if words.take("CONSTRAINT") else "drop column"
    words.take("COLUMN")
    flags = {"if exists"} if words.take("IF", "EXISTS") else set()
    name = words.name()
    if words.any_of("CASCADE"):
        flags.add("cascade")
    yield Fact(what, at, name=name, flags=frozenset(flags))


def _is_keyword(words: Words) -> bool:
    """Whether a name follows, as in DROP KEY k of MySQL; in PostgreSQL, DROP key drops a column of that name."""
    return words.peek(1) not in ("", "CASCADE", "RESTRICT")


def _alter(words: Words, at: int) -> Iterator[Fact]:
    if words.take("CONSTRAINT"):
        name, rest = words.name(), words.rest()
        flags = {"enforced"} if "ENFORCED" in rest else set()
        if "NOT" in rest and rest.index("NOT") + 1 < len(rest) and rest[rest.index("NOT") + 1] == "ENFORCED":
            flags = {"not enforced"}
        yield Fact("alter constraint", at, name=name, flags=frozenset(flags))
        return
    words.take("COLUMN")
    name = words.name()
    if words.take("TYPE") or words.take("SET", "DATA", "TYPE"):
        kind = read_type(words)
        flags, collation = set(), ""
        if words.take("COLLATE"):
            flags.add("collate")
            collation = words.name()
        using = tuple(words.rest()[1:]) if words.any_of("USING") else ()
        yield Fact("type", at, name=name, type=kind, words=using, flags=frozenset(flags), text=collation)
    elif words.take("SET", "NOT", "NULL"):
        yield Fact("set not null", at, name=name)
    elif words.take("DROP", "NOT", "NULL"):
        yield Fact("drop not null", at, name=name)
    elif words.take("SET", "DEFAULT"):
        yield Fact("set default", at, name=name, words=tuple(words.rest()))
    elif words.take("DROP", "DEFAULT"):
        yield Fact("drop default", at, name=name)
    elif words.take("SET", "EXPRESSION"):
        yield Fact("set expression", at, name=name)
    elif words.take("DROP", "EXPRESSION"):
        yield Fact("drop expression", at, name=name)


def _rename(words: Words, at: int) -> Fact:
    if words.take("TO"):
        return Fact("rename table", at, name=words.name())
    kind = "rename constraint" if words.take("CONSTRAINT") else "rename column"
    words.take("COLUMN")
    old = words.name()
    words.take("TO")
    return Fact(kind, at, name=old, text=words.name())


def _set(words: Words, at: int) -> Iterator[Fact]:
    if words.take("LOGGED"):
        yield Fact("set logged", at, text="logged")
    elif words.take("UNLOGGED"):
        yield Fact("set logged", at, text="unlogged")
    elif words.take("TABLESPACE"):
        yield Fact("set tablespace", at, name=words.name())
    elif words.take("ACCESS", "METHOD"):
        yield Fact("set access method", at, name=words.name())
    elif words.take("SCHEMA"):
        yield Fact("set schema", at, name=words.name())
