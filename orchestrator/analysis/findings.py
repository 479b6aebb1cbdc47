"""Judge files in their order: what each statement does to what exists by then. Pure: no server, no file is opened."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from orchestrator.analysis.facts import Fact
from orchestrator.analysis.hits import Hit, Unit
from orchestrator.analysis.judge_mongo import Collections, judge_command
from orchestrator.analysis.judge_postgres import judge, uses_new_value
from orchestrator.analysis.rules import has_bracket_names, is_of_mysql, lock_of_engine
from orchestrator.analysis.search_path import located, tells_public_apart
from orchestrator.analysis.statements import read_calls, read_statement
from orchestrator.analysis.table_locks import locked_together
from orchestrator.analysis.world import World
from orchestrator.analysis.world_changes import apply
from orchestrator.engines.postgres.sql_reader import Reader
from orchestrator.model import Mark, Script, Statement, telling, telling_text
from orchestrator.patterns import regex
from orchestrator.records import dataclass, replace

if TYPE_CHECKING:  # only files of MySQL need it
    from orchestrator.analysis.tables_mysql import Tables


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says of a statement. `maybe`: it may be harmless, which the files do not tell.

    `lock` is taken on `table`, or on what `locked` says.
    """

    code: str
    where: Mark
    what: str
    table: str = ""
    lock: str = ""
    maybe: bool = False
    statement: int = 0
    part: int = 0
    locked: str = ""


class Story:
    """The files of one database, one after the other. `version` is the server's major version; 0 if it is not told.

    `engine`: whose files they are; those of MySQL are read in a way of their own. `complete`: the story begins at the first
    file of the database, so that what is not in it was made by somebody else. `own` is the database's
    name, if that is known.
    """

    def __init__(self, *, version: int = 0, complete: bool = True, engine: str = "", own: str = "") -> None:
        self.world = World(complete=complete)
        self.collections = Collections(complete=complete, own=own)
        self.tables = _tables(complete=complete) if is_of_mysql(engine) else None
        self._version = version
        self._brackets = has_bracket_names(engine)
        self._lock = lock_of_engine(engine)

    def past(self, script: Script) -> None:
        """Take a file as applied before the plan."""
        for _ in self._read(script, pending=False):
            pass
        self.now_applied()

    def now_applied(self) -> None:
        """Take all files so far as applied: what comes next is a plan of its own."""
        self.world.pending_from = self.collections.pending_from = self.world.number + 1
        if self.tables is not None:
            self.tables.pending_from = self.world.number + 1

    def judge(self, script: Script) -> list[Finding]:
        """Take a file as part of the plan, and return what there is to say of its statements, in their order."""
        found = list(self._read(script, pending=True))
        if self._lock is None:
            return found
        lock, locked = self._lock
        return [replace(one, lock=lock, locked=locked) if one.lock else one for one in found]

    def _read(self, script: Script, *, pending: bool) -> Iterator[Finding]:
        self.world.number += 1
        self.collections.number = self.world.number
        self.world.utc = None
        self.world.path = ()
        if any(not isinstance(statement.body, str) for _, statement in telling(script.statements)):
            for number, statement in enumerate(script.statements):
                hits = judge_command(self.collections, statement.body)
                for hit in hits if pending else ():
                    yield _finding(script, statement, number, hit)
            return
        if self.tables is not None:
            yield from self._read_mysql(self.tables, script, pending=pending)
            return
        yield from self._read_sql(script, pending=pending)

    def _read_mysql(self, tables: Tables, script: Script, *, pending: bool) -> Iterator[Finding]:
        from orchestrator.analysis.judge_mysql import judge_sql

        tables.number = self.world.number
        for number, statement in enumerate(script.statements):
            for hit in judge_sql(tables, statement.source):
                if pending:
                    yield _finding(script, statement, number, hit)

    def _read_sql(self, script: Script, *, pending: bool) -> Iterator[Finding]:
        apart = tells_public_apart(telling_text(script))
        numbered, read = self._facts_of(telling(script.statements), apart)
        if any(fact.what == "add value" for facts in read for fact in facts):  # then the constants of an INSERT count
            numbered, read = self._facts_of(enumerate(script.statements), apart)
        later = frozenset(fact.name for facts in read for fact in facts if fact.what == "create function")
        settings = sum(statement.source[:4].upper().startswith("SET ") for _, statement in numbered)
        counted = len(script.statements) - settings
        chosen = any(directive.name == "no-transaction" for directive in script.directives)
        gone = frozenset(name for facts in read for fact in facts if fact.what == "drop table" for name in fact.others)
        again = frozenset(fact.table for facts in read for fact in facts if fact.what == "create materialized view")
        one = Unit(version=self._version, created_later=later)
        unit = replace(one, dropped=gone, made_later=again) if script.atomic else one
        for (number, statement), facts in zip(numbered, read, strict=True):
            if not script.atomic:
                unit = Unit(1 if chosen else counted, self._version, created_later=later)
            if unit.emptied and _FILLS.match(statement.source):
                unit.emptied.clear()
            told: set[tuple[Hit, int]] = set()
            if pending:
                for hit in uses_new_value(self.world, statement.source, facts, unit):
                    yield _finding(script, statement, number, hit)
            if self.world.bodies:
                facts = [*facts, *read_calls(statement.source, self.world.bodies)]
            for read_fact in facts:
                fact = located(self.world, read_fact, told_apart=apart)
                if pending:
                    for hit in judge(self.world, fact, unit):
                        if (hit, fact.part) not in told:  # two things of one body, told of its caller
                            told.add((hit, fact.part))
                            yield _finding(script, statement, number, hit, fact.part)
                if fact.what == "create type":
                    unit.made_types.add(fact.name)
                apply(self.world, fact)

        for number, what in locked_together(script, self._is_quiet) if pending else ():
            yield _finding(script, script.statements[number], number, Hit("PG304", 0, what, lock="ACCESS EXCLUSIVE"))

    def _facts_of(
        self, statements: Iterable[tuple[int, Statement]], apart: bool
    ) -> tuple[list[tuple[int, Statement]], list[Sequence[Fact]]]:
        """Return statements with their numbers, and the facts of each."""
        numbered = list(statements)
        shown = _without_brackets if self._brackets else str
        read = [_facts(shown(one.source), block=one.block, keeps_public=apart) for _, one in numbered]
        return numbered, read

    def _is_quiet(self, table: str) -> bool:
        return self.world.is_quiet(self.world.resolved(table))


def _tables(*, complete: bool) -> Tables:
    from orchestrator.analysis.tables_mysql import Tables

    return Tables(complete=complete)


def part_of(statement: Statement, part: int) -> str:
    """Return the source of a statement, or of this part of it where it is a block of several."""
    source = statement.source
    if not (statement.block and ";" in source):
        return source
    bounds = list(Reader("", source).statements())
    start, end = bounds[part] if part < len(bounds) else (0, len(source))
    return source[start:end]


_FILLS = regex(r"[\s(]*(?:INSERT|COPY|WITH|SELECT|CALL|DO|MERGE|EXECUTE)\b", re.IGNORECASE)
_MAX_KEPT = 4_000  # characters
_BRACKETS = regex(r"""'[^']*'|"[^"]*"|`[^`]*`|--[^\n]*|/\*.*?\*/|\[(?P<name>[^\]]*)\]""", re.DOTALL)


def _without_brackets(source: str) -> str:
    """Return a statement in which a [name], as SQLite has them, is a "name"; every other character stays in its place."""

    def quoted(found: re.Match[str]) -> str:
        return found[0] if found["name"] is None else '"' + found["name"].replace('"', "_") + '"'

    return _BRACKETS.sub(quoted, source) if "[" in source else source


def _facts(source: str, *, block: bool, keeps_public: bool) -> Sequence[Fact]:
    if not (block and ";" in source):
        return _of_one(source, keeps_public)
    return [
        replace(fact, at=fact.at + start, part=part)
        for part, (start, end) in enumerate(Reader("", source).statements())
        for fact in _of_one(source[start:end], keeps_public)
    ]


def _of_one(source: str, keeps_public: bool) -> Sequence[Fact]:
    """Return the facts of a statement. Nobody changes a fact, so the databases of a fleet share those of the same text."""
    if len(source) > _MAX_KEPT:
        return read_statement(source, keeps_public=keeps_public)
    return _kept(source, keeps_public)


@lru_cache(maxsize=16_384)
def _kept(source: str, keeps_public: bool) -> tuple[Fact, ...]:
    return tuple(read_statement(source, keeps_public=keeps_public))


def _finding(script: Script, statement: Statement, number: int, hit: Hit, part: int = 0) -> Finding:
    source, at = statement.source, hit.at
    line = statement.line + source.count("\n", 0, at)
    column = statement.offset + at - script.text.rfind("\n", 0, statement.offset + at)
    return Finding(
        hit.code, Mark(script.file.path, line, column), hit.what, hit.table, hit.lock, hit.maybe, number, part
    )
