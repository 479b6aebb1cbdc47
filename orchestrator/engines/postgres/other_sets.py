"""Other sets of migrations in the same database: their version tables and histories, which no file of this set may change.

What other sessions do to these tables meanwhile is none of our business: only what our own transaction did is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from orchestrator.engines.postgres.history import OURS
from orchestrator.engines.postgres.record_tables import RecordTable
from orchestrator.engines.postgres.shapes import VERSION_TABLE

_NAMES = ", ".join(f"'{name}'" for name in sorted(OURS))
# Those that a later release adds to a history do not count: its own set may be doing that meanwhile.
_COLUMNS = f"""(SELECT coalesce(pg_catalog.string_agg(pg_catalog.concat(attname, ':', atttypid), ',' ORDER BY attname), '')
        FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attname IN ('dirty', {_NAMES}))"""  # noqa: S608 - ours
# The primary key as the names of its columns, '' if there is none.
_KEY = """(SELECT coalesce(pg_catalog.string_agg(attname, ',' ORDER BY attname), '')
        FROM pg_catalog.pg_index JOIN pg_catalog.pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
        WHERE indrelid = c.oid AND indisprimary)"""


class OtherTable(NamedTuple):
    """A table in which another set records something, as it was before a file of this set ran."""

    schema: str
    name: str
    oid: int
    filenode: int
    secured: bool
    columns: str
    key: str


def others(found: Sequence[RecordTable], ours: Collection[tuple[str, str]]) -> tuple[OtherTable, ...]:
    """Return those of the tables that are not `ours`, which are pairs of a schema and a name."""
    return tuple(
        OtherTable(one.schema, one.name, one.oid, one.filenode, one.secured, _columns_of(one), ",".join(one.key_names))
        for one in found
        if (one.schema, one.name) not in ours
        and one.persistence != "t"
        and not one.schema.startswith("pg_")
        and (_is_version_table(one) or one.columns.keys() >= OURS)
    )


def _is_version_table(table: RecordTable) -> bool:
    """Whether it is golang-migrate's: it has two columns and no other one, if nobody added one."""
    columns = [table.columns.get(name) for name in VERSION_TABLE.columns]
    usual = [column and column.required and column.type for column in columns] == [*VERSION_TABLE.columns.values()]
    return usual and (table.size == 2 or table.name == "schema_migrations")


def _columns_of(table: RecordTable) -> str:
    return ",".join(f"{name}:{table.columns[name].type}" for name in sorted({"dirty", *OURS} & table.columns.keys()))


def untouched(table: OtherTable, literal: Callable[[str], str]) -> str:
    """Return an SQL condition: the table is where it was, and this transaction changed none of its rows."""
    counts = " + ".join(
        f"pg_catalog.pg_stat_get_xact_tuples_{what}(c.oid)" for what in ("inserted", "updated", "deleted")
    )
    return (
        "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.oid = '{table.oid}' AND relname = {literal(table.name)} AND nspname = {literal(table.schema)} "
        f"AND relfilenode = '{table.filenode}' "  # another one after a TRUNCATE
        f"AND relrowsecurity = {str(table.secured).lower()} AND {_COLUMNS} = {literal(table.columns)} "
        f"AND {_KEY} = {literal(table.key)} AND {counts} = 0)"
    )
