"""What kind of tables history and version table are, so that it is noticed if a file changes that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from orchestrator.engines.postgres.history import COLUMNS
from orchestrator.engines.postgres.record_tables import RecordTable

# The oids of pg_type.dat.
_TYPES = {"bigint": 20, "boolean": 16, "double": 701, "integer": 23, "text": 25, "timestamptz": 1184}


class Shape(NamedTuple):
    """A table as pg_class has it: its persistence, the numbers of the columns of its primary key, '' if it has none, and the
    types of the columns that count, as oids."""

    persistence: str
    key: str
    columns: Mapping[str, int]

    def condition(self, table: str, literal: Callable[[str], str]) -> str:
        """Return an SQL condition: the table has this shape. What it has besides is nobody's business."""
        oid = f"pg_catalog.to_regclass({literal(table)})"
        columns = ",".join(f'"{kind} {name}"' for name, kind in self.columns.items())
        persistence = f"SELECT relpersistence FROM pg_catalog.pg_class WHERE oid = {oid}"
        there = (
            "SELECT atttypid || ' ' || attname FROM pg_catalog.pg_attribute "
            f"WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped"
        )
        condition = f"({persistence}) = {literal(self.persistence)} AND ARRAY({there}) @> {literal(f'{{{columns}}}')}"
        if self.key:
            key = f"SELECT indkey::text FROM pg_catalog.pg_index WHERE indrelid = {oid} AND indisprimary"
            condition += f" AND ({key}) = {literal(self.key)}"
        return f"({condition})"


HISTORY = Shape("p", "1 2", {name: _TYPES[kind.split()[0]] for name, kind in COLUMNS.items()})
VERSION_TABLE = Shape("p", "1", {"version": _TYPES["bigint"], "dirty": _TYPES["boolean"]})


def shape_of(table: RecordTable | None, usual: Shape) -> Shape:
    """Return the shape that a table must keep: its own, completed by the usual one. None: there is no table yet."""
    if table is None:
        return usual
    own = {name: column.type for name, column in table.columns.items() if name in usual.columns}
    return Shape(table.persistence, table.key, {**usual.columns, **own})
