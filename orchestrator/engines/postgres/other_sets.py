"""Other sets of migrations in the same database: their version tables and histories, which no file of this set may change.

What other sessions do to these tables meanwhile is none of our business: only what our own transaction did is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from orchestrator.engines.postgres.history import OURS
from orchestrator.engines.postgres.shapes import KEY

# golang-migrate's table has these two columns and no other one, if nobody added one; ours is told by five of its own.
_NAMES = ", ".join(f"'{name}'" for name in sorted(OURS))
# Those that a later release adds to a history do not count: its own set may be doing that meanwhile.
_COLUMNS = f"""(SELECT coalesce(pg_catalog.string_agg(pg_catalog.concat(attname, ':', atttypid), ',' ORDER BY attname), '')
        FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attname IN ('dirty', {_NAMES}))"""  # noqa: S608 - ours
FIND = f"""
    SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
        n.nspname, c.relname, c.oid::bigint, c.relfilenode::bigint, c.relrowsecurity, {_COLUMNS}, {KEY})), '[]')::text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND (
        (SELECT pg_catalog.count(*) = 2 AND pg_catalog.bool_and(
                a.atttypid = CASE a.attname WHEN 'version' THEN 'pg_catalog.int8' WHEN 'dirty' THEN 'pg_catalog.bool' END
                    ::pg_catalog.regtype)
            FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attnotnull
            AND (c.relnatts = 2 OR c.relname = 'schema_migrations' AND a.attname IN ('version', 'dirty')))
        OR (SELECT pg_catalog.count(*) = {len(OURS)} FROM pg_catalog.pg_attribute a
            WHERE c.relnatts >= {len(OURS)} AND a.attrelid = c.oid AND a.attname IN ({_NAMES})))"""  # noqa: S608 - ours


class OtherTable(NamedTuple):
    """A table in which another set records something, as it was before a file of this set ran."""

    schema: str
    name: str
    oid: int
    filenode: int
    secured: bool
    columns: str
    key: str


def others(found: list[list[Any]], ours: Collection[tuple[str, str]]) -> tuple[OtherTable, ...]:
    """Return what `FIND` found that is not `ours`, which are pairs of a schema and a name."""
    return tuple(table for row in found if ((table := OtherTable(*row)).schema, table.name) not in ours)


def untouched(table: OtherTable, literal: Callable[[str], str]) -> str:
    """Return an SQL condition: the table is where it was, and this transaction changed none of its rows."""
    counts = " + ".join(
        f"pg_catalog.pg_stat_get_xact_tuples_{what}(c.oid)" for what in ("inserted", "updated", "deleted")
    )
    return (
        "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.oid = {table.oid} AND relname = {literal(table.name)} AND nspname = {literal(table.schema)} "
        f"AND relfilenode = {table.filenode} "  # another one after a TRUNCATE
        f"AND relrowsecurity = {str(table.secured).lower()} AND {_COLUMNS} = {literal(table.columns)} "
        f"AND {KEY} = {literal(table.key)} AND {counts} = 0)"
    )
