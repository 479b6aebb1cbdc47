"""What kind of tables history and version table are, so that it is noticed if a file changes that."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from orchestrator.engines.postgres.history import COLUMNS

_TYPES = {"timestamptz": "timestamp with time zone", "double": "double precision"}
# The primary key as the names of its columns, '' if there is none; `c` is the row of pg_class.
KEY = """(SELECT coalesce(pg_catalog.string_agg(attname, ',' ORDER BY attname), '')
        FROM pg_catalog.pg_index JOIN pg_catalog.pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
        WHERE indrelid = c.oid AND indisprimary)"""


class Shape(NamedTuple):
    """A table as pg_class has it: its persistence, the columns of its primary key, and the types of the columns that count."""

    persistence: str
    key: str
    columns: Mapping[str, str]

    def condition(self, table: str, literal: Callable[[str], str]) -> str:
        """Return an SQL condition: the table has this shape. What it has besides is nobody's business."""
        types = ",".join(f"{name} {kind}" for name, kind in sorted(self.columns.items()))
        key = f"AND {KEY} = {literal(self.key)} " if self.key else ""
        return (
            f"EXISTS (SELECT FROM pg_catalog.pg_class c WHERE oid = pg_catalog.to_regclass({literal(table)}) "
            f"AND relpersistence = {literal(self.persistence)} {key}AND {_types(self.columns, literal)} = {literal(types)})"
        )


HISTORY = Shape(
    "p", "attempt,version", {name: _TYPES.get(kind.split()[0], kind.split()[0]) for name, kind in COLUMNS.items()}
)
VERSION_TABLE = Shape("p", "version", {"version": "bigint", "dirty": "boolean"})


def shapes_query(tables: Mapping[str, Shape], literal: Callable[[str], str]) -> str:
    """Return an SQL expression for the shapes of tables as JSON, by name; `read_shapes` reads it."""
    parts = [
        f"""SELECT pg_catalog.json_build_array({literal(table)}, relpersistence::text, {KEY}, (
            SELECT pg_catalog.json_object_agg(attname, {_TYPE}) FROM pg_catalog.pg_attribute
            WHERE {_among(usual.columns, literal)})) AS shape
        FROM pg_catalog.pg_class c WHERE oid = pg_catalog.to_regclass({literal(table)})"""  # noqa: S608 - quoted
        for table, usual in tables.items()
    ]
    found = " UNION ALL ".join(parts)
    return f"(SELECT coalesce(pg_catalog.json_agg(shape), '[]')::text FROM ({found}) AS found)"  # noqa: S608 - ours


def read_shapes(text: str, tables: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shape of each table; one that is not there yet will have the usual one."""
    found = {name: Shape(*rest) for name, *rest in json.loads(text)}
    return {
        table: found[table]._replace(columns={**usual.columns, **found[table].columns}) if table in found else usual
        for table, usual in tables.items()
    }


_TYPE = "pg_catalog.format_type(atttypid, NULL)"


def _among(columns: Mapping[str, str], literal: Callable[[str], str]) -> str:
    names = ", ".join(literal(name) for name in columns)
    return f"attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attname IN ({names})"


def _types(columns: Mapping[str, str], literal: Callable[[str], str]) -> str:
    return f"""(SELECT pg_catalog.string_agg(attname || ' ' || {_TYPE}, ',' ORDER BY attname)
        FROM pg_catalog.pg_attribute WHERE {_among(columns, literal)})"""  # noqa: S608 - quoted
