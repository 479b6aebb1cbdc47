"""Track which objects exist after each file: tables with their creators, columns, constraints, indexes and so on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.analysis.facts import Column, Constraint, Fact
from orchestrator.analysis.functions import STEADY, VOLATILE
from orchestrator.analysis.types import Type
from orchestrator.analysis.words import calls

UNQUALIFIED = re.compile(r'"(?:[^"]|"")*"|[^".]+')
_ENDS = {"check": "check", "foreign key": "fkey", "unique": "key", "primary key": "pkey", "exclude": "excl"}


@dataclass(slots=True)
class Table:
    """A table, materialized view or view. `made` is the number of the file that creates it; -1 unless it is told."""

    name: str
    made: int
    kind: str = "table"
    sure: bool = True
    temp: bool = False
    columns: dict[str, Column] = field(default_factory=dict)
    whole: bool = True
    constraints: dict[str, tuple[Constraint, int]] = field(default_factory=dict)
    parent: str = ""
    partitioned: bool = False
    default_partition: str = ""

    def foreign_keys(self) -> list[Constraint]:
        """Return its foreign keys to other tables."""
        found = [constraint for constraint, _ in self.constraints.values()]
        return [one for one in found if one.kind == "foreign key" and one.references != self.name]


@dataclass(slots=True)
class Index:
    """An index: its table, its columns, and the file that makes it."""

    table: str
    columns: tuple[str, ...]
    made: int
    unique: bool = False


@dataclass(slots=True)
class Domain:
    """A domain; `made` as of a table."""

    type: Type
    constrained: bool
    made: int


class World:
    """What exists, as far as the files tell. `complete`: all files so far were read, so what is not here is made elsewhere.

    Files have rising numbers. What a file of number `pending_from` or later creates is new: nothing uses it yet.
    """

    def __init__(self, *, complete: bool = True) -> None:
        self.complete = complete
        self.number = -1
        self.pending_from = 0
        self.tables: dict[str, Table] = {}
        self.indexes: dict[str, Index] = {}
        self.domains: dict[str, Domain] = {}
        self.types: dict[str, int] = {}
        self.functions: dict[str, tuple[bool, int]] = {}
        self.triggers: dict[tuple[str, str], str] = {}
        self.others: dict[tuple[str, str], int] = {}
        self.new_columns: dict[tuple[str, str], int] = {}
        self.utc: bool | None = None
        self.path: tuple[str, ...] = ()

    # ------------------------------------------------------------ questions

    def table(self, name: str) -> Table | None:
        """Return a table, if a file creates it."""
        return self.tables.get(name)

    def is_new(self, name: str) -> bool:
        """Whether a table is created by what is pending, or temporary: nobody reads it, and it has no old rows."""
        found = self.tables.get(name)
        return found is not None and (found.temp or (found.made >= self.pending_from and found.sure))

    def is_quiet(self, name: str) -> bool:
        """As `is_new`, and for CREATE TABLE IF NOT EXISTS of what no earlier file made, if all files were read."""
        found = self.tables.get(name)
        return self.is_new(name) or (found is not None and found.made >= self.pending_from and self.complete)

    def made_now(self, made: int) -> bool:
        """Whether what was made by the file of this number is new."""
        return made >= self.pending_from

    def resolved(self, name: str) -> str:
        """Return the name of a table as it is known here: by the search_path that the file has set, if it has no schema."""
        if not self.path or not UNQUALIFIED.fullmatch(name):
            return name
        known = self.tables.get(name)
        if known is not None and known.temp:
            return name
        places = [name if schema == "public" else f"{schema}.{name}" for schema in self.path]
        return next((place for place in places if place in self.tables), places[0])

    def column(self, table: str, name: str) -> Column | None:
        """Return a column, if it is known."""
        found = self.tables.get(table)
        return found.columns.get(name) if found else None

    def constraint(self, table: str, name: str) -> tuple[Constraint, int] | None:
        """Return a constraint and the number of the file that added it, if they are known."""
        found = self.tables.get(table)
        return found.constraints.get(name) if found else None

    def volatile(self, words: Sequence[str]) -> bool | None:
        """Whether an expression may have another value for each row; None: it calls a function that nobody knows."""
        unknown = False
        for name in calls(list(words)):
            if name in self.functions:
                if self.functions[name][0]:
                    return True
            elif name in VOLATILE or name.removeprefix("pg_catalog.") in VOLATILE:
                return True
            elif name not in STEADY:
                unknown = True
        return None if unknown else False

    def indexes_of(self, table: str, column: str) -> list[str]:
        """Return the indexes that hold a column."""
        return [name for name, index in self.indexes.items() if index.table == table and column in index.columns]

    def foreign_keys_to(self, table: str) -> list[str]:
        """Return the tables that have a foreign key to this one."""
        return [
            other.name for other in self.tables.values() if any(fk.references == table for fk in other.foreign_keys())
        ]

    def uses_domain(self, name: str) -> list[Table]:
        """Return the tables that have a column of a domain."""
        return [t for t in self.tables.values() if any(column.type.name == name for column in t.columns.values())]

    # ------------------------------------------------------------ what a statement changes

    def apply(self, fact: Fact) -> None:
        """Change what exists as the statement does."""
        if change := _CHANGES.get(fact.what):
            change(self, fact)
        elif fact.what.startswith("drop ") and fact.others:
            self._drop(fact)
        elif (table := self.tables.get(fact.table)) is not None:
            self._alter(fact, table)

    def _create_view(self, fact: Fact) -> None:
        known = self.tables.get(fact.table)
        if known is None or known.kind == "view":
            sure, kind = "if not exists" not in fact.flags, fact.what.removeprefix("create ")
            made = known.made if known else self.number
            self.tables[fact.table] = Table(fact.table, made, kind, sure, "temp" in fact.flags, whole=False)

    def _create_index(self, fact: Fact) -> None:
        name = fact.name or f"{fact.table}_{'_'.join(fact.others)}_idx"
        self.indexes.setdefault(name, Index(fact.table, fact.others, self.number, "unique" in fact.flags))

    def _create_function(self, fact: Fact) -> None:
        self.functions[fact.name] = (_is_volatile(fact, self), self.number)

    def _create_domain(self, fact: Fact) -> None:
        if fact.type is not None:
            self.domains[fact.name] = Domain(fact.type, "constrained" in fact.flags, self.number)

    def _constrain_domain(self, fact: Fact) -> None:
        if fact.name in self.domains:
            self.domains[fact.name].constrained = True

    def _create_type(self, fact: Fact) -> None:
        self.types[fact.name] = self.number

    def _create_other(self, fact: Fact) -> None:
        self.others.setdefault((fact.what.removeprefix("create "), fact.name), self.number)

    def _create_trigger(self, fact: Fact) -> None:
        self.triggers[fact.table, fact.name] = fact.text

    def _drop_trigger(self, fact: Fact) -> None:
        self.triggers.pop((fact.table, fact.name), None)

    def _set_search_path(self, fact: Fact) -> None:
        self.path = fact.others

    def _set_time_zone(self, fact: Fact) -> None:
        self.utc = fact.text in ("UTC", "ETC/UTC", "GMT", "Z", "ZULU")

    def _detach(self, fact: Fact) -> None:
        if fact.name in self.tables:
            self.tables[fact.name].parent = ""

    def _create_table(self, fact: Fact) -> None:
        if fact.table in self.tables and "if not exists" in fact.flags:
            return
        sure = "if not exists" not in fact.flags
        made = Table(fact.table, self.number, sure=sure, temp="temp" in fact.flags)
        made.partitioned = "partitioned" in fact.flags
        for like in (*fact.others, *((fact.name,) if fact.name else ())):
            source = self.tables.get(like)
            made.columns |= source.columns if source else {}
            made.whole = made.whole and source is not None and source.whole
        if "partition" in fact.flags:
            made.parent = fact.name
            parent = self.tables.get(fact.name)
            if parent is not None and "default" in fact.flags:
                parent.default_partition = fact.table
        if not fact.columns and not fact.others and not fact.name:
            made.whole = False  # CREATE TABLE … AS
        self.tables[fact.table] = made
        for column in fact.columns:
            self._add_column(made, column)
        for constraint in fact.constraints:
            self._add_constraint(made, constraint)

    def _add_column(self, table: Table, column: Column) -> None:
        table.columns[column.name] = column
        for constraint in column.constraints:
            self._add_constraint(table, constraint, column.name)

    def _add_constraint(self, table: Table, constraint: Constraint, column: str = "") -> None:
        columns = "" if constraint.kind == "primary key" else "_".join(constraint.columns) or column
        name = constraint.name or "_".join(
            filter(None, [_bare(table.name), columns, _ENDS.get(constraint.kind, "not_null")])
        )
        table.constraints[name] = (constraint, self.number)
        if constraint.kind in ("unique", "primary key") and constraint.columns:
            self.indexes[name] = Index(table.name, constraint.columns, self.number, unique=True)
        if constraint.kind == "primary key" or (constraint.kind == "not null" and constraint.valid):
            for name in constraint.columns:
                if name in table.columns:
                    table.columns[name] = replace(table.columns[name], not_null=True)

    def _attach(self, fact: Fact) -> None:
        child, parent = self.tables.get(fact.name), self.tables.get(fact.table)
        if child is not None:
            child.parent = fact.table
        if parent is not None:
            parent.partitioned = True
            if "default" in fact.flags:
                parent.default_partition = fact.name

    def _alter(self, fact: Fact, table: Table) -> None:
        what, column = fact.what, table.columns.get(fact.name)
        if what == "add column" and fact.column is not None:
            if column is None:
                self._add_column(table, fact.column)
                self.new_columns[table.name, fact.name] = self.number
        elif what == "add constraint" and fact.constraint is not None:
            self._add_constraint(table, fact.constraint)
        elif what == "drop column":
            table.columns.pop(fact.name, None)
        elif what == "drop constraint":
            table.constraints.pop(fact.name, None)
            self.indexes.pop(fact.name, None)
        elif what == "validate" and fact.name in table.constraints:
            constraint, _ = table.constraints[fact.name]
            table.constraints[fact.name] = (replace(constraint, valid=True), self.number)
        elif what == "rename constraint" and fact.name in table.constraints:
            table.constraints[fact.text] = table.constraints.pop(fact.name)
        elif what in ("rename table", "set schema"):
            self._move(fact, table)
        elif column is not None:
            _alter_column(fact, table, column)

    def _move(self, fact: Fact, table: Table) -> None:
        old = table.name
        if fact.what == "rename table":
            new = _same_schema(old, fact.name)
        else:
            new = _bare(old) if fact.name == "public" else f"{fact.name}.{_bare(old)}"
        self.tables.pop(old, None)
        self.tables[new], table.name = table, new
        for index in self.indexes.values() if fact.what == "rename table" else ():
            index.table = new if index.table == old else index.table

    def _drop(self, fact: Fact) -> None:
        kind = fact.what.removeprefix("drop ")
        for name in fact.others:
            if kind in ("table", "view", "materialized view"):
                self.tables.pop(name, None)
                for index in [index for index, one in self.indexes.items() if one.table == name]:
                    del self.indexes[index]
            elif kind == "index":
                self.indexes.pop(name, None)
            elif kind == "domain":
                self.domains.pop(name, None)
            elif kind == "type":
                self.types.pop(name, None)
            elif kind in ("function", "procedure", "routine"):
                self.functions.pop(name, None)
            elif kind == "schema":
                for table in [table for table in self.tables if table.startswith(f"{name}.")]:
                    del self.tables[table]
                self.others.pop((kind, name), None)
            else:
                self.others.pop((kind, name), None)

    def _rename_other(self, fact: Fact) -> None:
        for new in fact.others:
            if fact.text == "index" and fact.name in self.indexes:
                self.indexes[new] = self.indexes.pop(fact.name)
            elif fact.text == "domain" and fact.name in self.domains:
                self.domains[new] = self.domains.pop(fact.name)
            elif fact.text == "function" and fact.name in self.functions:
                self.functions[new] = self.functions.pop(fact.name)


def _is_volatile(fact: Fact, world: World) -> bool:
    """Whether a function gives another value for every row. One of SQL is inlined, so what it calls decides."""
    if fact.flags & {"immutable", "stable"}:
        return False
    if fact.text == "sql":
        return world.volatile(fact.words) is not False or "FROM" in fact.words
    return True


def _bare(name: str) -> str:
    return name.rpartition(".")[2] if not name.endswith('"') else name


def _same_schema(old: str, new: str) -> str:
    schema = old.rpartition(".")[0] if not old.endswith('"') else ""
    return f"{schema}.{new}" if schema else new


def _alter_column(fact: Fact, table: Table, column: Column) -> None:
    what = fact.what
    if what == "rename column":
        table.columns.pop(fact.name)
        table.columns[fact.text] = replace(column, name=fact.text)
    elif what == "type" and fact.type is not None:
        table.columns[fact.name] = replace(column, type=fact.type)
    elif what in ("set not null", "drop not null"):
        table.columns[fact.name] = replace(column, not_null=what == "set not null")
    elif what in ("set default", "drop default"):
        table.columns[fact.name] = replace(column, default=fact.words)


_CHANGES: dict[str, Callable[[World, Fact], None]] = {
    "create table": World._create_table,
    "create materialized view": World._create_view,
    "create view": World._create_view,
    "create index": World._create_index,
    "create function": World._create_function,
    "create domain": World._create_domain,
    "create type": World._create_type,
    "create sequence": World._create_other,
    "create schema": World._create_other,
    "create trigger": World._create_trigger,
    "domain add": World._constrain_domain,
    "domain not null": World._constrain_domain,
    "drop trigger": World._drop_trigger,
    "rename other": World._rename_other,
    "time zone": World._set_time_zone,
    "search path": World._set_search_path,
    "detach": World._detach,
    "attach": World._attach,
}
