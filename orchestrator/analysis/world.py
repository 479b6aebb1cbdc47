"""What exists after each file: tables with their columns and constraints, indexes and so on, and who created them."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.analysis.facts import Column, Constraint
from orchestrator.analysis.functions import STEADY, VOLATILE
from orchestrator.analysis.types import Type
from orchestrator.analysis.view_text import View
from orchestrator.analysis.words import calls
from orchestrator.patterns import regex
from orchestrator.records import dataclass, field

UNQUALIFIED = regex(r'"(?:[^"]|"")*"|[^".]+')


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
    """An index: its table, its columns, and the file that makes it. `mentions`: names in its expressions and its WHERE."""

    table: str
    columns: tuple[str, ...]
    made: int
    unique: bool = False
    mentions: frozenset[str] = frozenset()

    def holds(self, column: str) -> bool:
        """Whether a column is part of it: PostgreSQL drops the index with the column."""
        return column in self.columns or column in self.mentions


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
        self._indexes_of: dict[str, dict[str, None]] = {}  # of each table, with some that are gone
        self._referring: dict[str, dict[str, None]] = {}  # to each table, with some that do so no longer
        self.domains: dict[str, Domain] = {}
        self.types: dict[str, int] = {}
        self.functions: dict[str, tuple[bool, int]] = {}
        self.bodies: dict[str, str] = {}
        self.views: dict[str, View] = {}
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

    def has_new_rows(self, name: str) -> bool:
        """Whether all rows are new: those of a view are those of other tables, and so are those of partitions."""
        found = self.tables.get(name)
        return self.is_new(name) and not (found and found.kind == "view") and not self.old_within(name)

    def old_within(self, name: str) -> set[str]:
        """Return the partitions of a table that the plan has not made, and those of its partitions."""
        within = [one for one in self.tables.values() if one.parent == name != one.name]
        old = {one.name for one in within if not self.is_new(one.name)}
        return old.union(*(self.old_within(one.name) for one in within))

    def made_now(self, made: int) -> bool:
        """Whether what was made by the file of this number is new."""
        return made >= self.pending_from

    def resolved(self, name: str) -> str:
        """Return the name of a table as it is known here: by the search_path that the file has set, if it has no schema."""
        if name.startswith("public."):  # it is not the temporary table of that name
            bare = name.removeprefix("public.")
            return name if bare in self.tables and self.tables[bare].temp else bare
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

    def add_index(self, name: str, index: Index) -> None:
        """Add an index, also after its table has another name."""
        self.indexes[name] = index
        self._indexes_of.setdefault(index.table, {})[name] = None

    def indexes_on(self, table: str) -> dict[str, Index]:
        """Return the indexes of a table."""
        found = {name: self.indexes.get(name) for name in self._indexes_of.get(table, ())}
        return {name: index for name, index in found.items() if index is not None and index.table == table}

    def indexes_of(self, table: str, column: str) -> dict[str, Index]:
        """Return the indexes that hold a column."""
        return {name: index for name, index in self.indexes_on(table).items() if index.holds(column)}

    def add_reference(self, table: str, references: str) -> None:
        """Take note that a table has a foreign key to another one, also after one of them has another name."""
        self._referring.setdefault(references, {})[table] = None

    def referring(self, table: str) -> list[Table]:
        """Return the tables that have a foreign key to this one; perhaps itself."""
        found = [self.tables[name] for name in self._referring.get(table, ()) if name in self.tables]
        return [one for one in found if any(key.references == table for key, _ in one.constraints.values())]

    def foreign_keys_to(self, table: str) -> list[str]:
        """Return the other tables that have a foreign key to this one."""
        return [other.name for other in self.referring(table) if other.name != table]

    def tied_by(self, table: str, column: str) -> list[str]:
        """Return the other tables that a foreign key ties to a column: those that it refers to, and those that refer to it."""
        found = self.tables.get(table)
        to = [key.references for key in found.foreign_keys() if column in key.columns] if found else []
        by = [
            other.name
            for other in self.referring(table)
            for key in other.foreign_keys()
            if key.references == table and column in (key.referred or self._primary_key(table))
        ]
        return list(dict.fromkeys([*to, *by]))

    def _primary_key(self, table: str) -> tuple[str, ...]:
        found = self.tables.get(table)
        keys = [one.columns for one, _ in found.constraints.values() if one.kind == "primary key"] if found else []
        return keys[0] if keys else ()

    def uses_type(self, name: str) -> bool:
        """Whether a column may have a type: one has it, or not all columns of a table are known."""
        return any(
            (not table.whole and table.kind == "table")
            or any(column.type.name == name for column in table.columns.values())
            for table in self.tables.values()
        )

    def uses_domain(self, name: str) -> list[Table]:
        """Return the tables that have a column of a domain."""
        return [t for t in self.tables.values() if any(column.type.name == name for column in t.columns.values())]
