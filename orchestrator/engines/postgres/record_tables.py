"""Tables in which any set of migrations records something, as the catalogue has them before a file runs.

The server would take longer to plan one query that tells them apart than to run it, so it is asked for plain facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# Version tables have a column `dirty`, histories a column `checksum`. What initdb makes has smaller oids. Each operator has
# operands of the same type: for others a new backend reads most of pg_cast.
QUESTION = """SELECT c.relnamespace::pg_catalog.regnamespace, c.relname, c.oid, c.relfilenode, c.relrowsecurity,
        c.relpersistence::text, c.relnatts,
        (SELECT indkey FROM pg_catalog.pg_index WHERE indrelid = c.oid AND indisprimary),
        ARRAY(SELECT pg_catalog.concat_ws(' ', attnum, atttypid, attnotnull, attname) FROM pg_catalog.pg_attribute
            WHERE attrelid = c.oid AND attnum > '0' AND NOT attisdropped)
    FROM pg_catalog.pg_class c WHERE (c.relkind = 'r' OR c.relkind = 'p')
    AND c.oid = ANY (ARRAY(SELECT attrelid FROM pg_catalog.pg_attribute
        WHERE attrelid >= '16384' AND attname IN ('dirty', 'checksum')))"""


class Column(NamedTuple):
    """A column: its number, the oid of its type, and whether it is NOT NULL."""

    number: int
    type: int
    required: bool


class RecordTable(NamedTuple):
    """A table that may be one of those. `size` counts dropped columns, too; `key` are the numbers of the primary key's."""

    schema: str
    name: str
    oid: int
    filenode: int
    secured: bool
    persistence: str
    size: int
    key: str
    columns: Mapping[str, Column]

    @property
    def key_names(self) -> list[str]:
        """The names of the columns of the primary key, in the order of their bytes."""
        numbers = {int(number) for number in self.key.split()}
        return sorted(name for name, column in self.columns.items() if column.number in numbers)


def table_of(row: Sequence[Any]) -> RecordTable:
    """Return the table that a row of `QUESTION` tells."""
    schema, name, oid, filenode, secured, persistence, size, key, attributes = row
    if schema.startswith('"'):
        schema = schema[1:-1].replace('""', '"')
    columns = {}
    for attribute in attributes:
        number, kind, required, column = attribute.split(" ", 3)
        columns[column] = Column(int(number), int(kind), required == "t")
    return RecordTable(schema, name, oid, filenode, secured, persistence, size, key or "", columns)
