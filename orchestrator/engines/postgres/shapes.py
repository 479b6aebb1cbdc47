"""What kind of tables history and version table are, so that it is noticed if a file changes that."""

from __future__ import annotations

from collections.abc import Mapping
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

    def condition(self, *, is_history: bool) -> str:
        """Return an SQL condition on what `seen` selects: the table has this shape. What it has besides is nobody's business."""
        which = "t" if is_history else "f"
        columns = ",".join(f'"{which} {kind} {name}"' for name, kind in self.columns.items())
        condition = f"""persistence @> '{{"{which} {self.persistence}"}}' AND columns @> '{{{columns}}}'"""
        return condition + (f""" AND keys @> '{{"{which} {self.key}"}}'""" if self.key else "")


def seen(version_table: str, history: str) -> str:
    """Return a FROM clause with the shapes of both tables, as arrays of texts: those of the history begin with t.

    The names are SQL literals. One query for each catalogue: the server takes longer to plan one than to run it.
    """
    of_history, of_version_table = (f"pg_catalog.to_regclass({name})::oid" for name in (history, version_table))
    which, either = f"IS NOT DISTINCT FROM {of_history}", f"IN ({of_history}, {of_version_table})"
    # Behind OFFSET it is planned once, whatever number of conditions there is.
    return (
        f" FROM (SELECT ARRAY(SELECT pg_catalog.concat(oid {which}, ' ', relpersistence) "
        f"FROM pg_catalog.pg_class WHERE oid {either}) AS persistence, "
        f"ARRAY(SELECT pg_catalog.concat(attrelid {which}, ' ', atttypid, ' ', attname) "
        f"FROM pg_catalog.pg_attribute WHERE attrelid {either} AND attnum > '0' AND NOT attisdropped) AS columns, "
        f"ARRAY(SELECT pg_catalog.concat(indrelid {which}, ' ', indkey) "
        f"FROM pg_catalog.pg_index WHERE indrelid {either} AND indisprimary) AS keys OFFSET 0) AS seen"
    )


HISTORY = Shape("p", "1 2", {name: _TYPES[kind.split()[0]] for name, kind in COLUMNS.items()})
VERSION_TABLE = Shape("p", "1", {"version": _TYPES["bigint"], "dirty": _TYPES["boolean"]})


def shape_of(table: RecordTable | None, usual: Shape) -> Shape:
    """Return the shape that a table must keep: its own, completed by the usual one. None: there is no table yet."""
    if table is None:
        return usual
    own = {name: column.type for name, column in table.columns.items() if name in usual.columns}
    return Shape(table.persistence, table.key, {**usual.columns, **own})
