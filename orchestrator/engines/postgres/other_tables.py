"""Queries for tables that are not ours: they tell whether a database was made before orch knew it, or was emptied."""

from __future__ import annotations

from collections.abc import Sequence

_OF_NO_EXTENSION = "NOT EXISTS (SELECT FROM pg_catalog.pg_depend WHERE objid = c.oid AND deptype = 'e')"


def unrecorded_query(schema: str) -> str:
    """Return a query for the number of tables in a schema, given as a literal, and for the names of all extensions."""
    return (
        "SELECT (SELECT count(*) FROM pg_catalog.pg_class c WHERE relkind IN ('r', 'p') "
        f"AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {schema}) "
        f"AND {_OF_NO_EXTENSION}), ARRAY(SELECT extname::text FROM pg_catalog.pg_extension)"
    )


def other_tables_query(ours: Sequence[str]) -> str:
    """Return a query for whether there are tables in the database but ours, whose names are given as literals."""
    names = ", ".join(f"pg_catalog.to_regclass({name})" for name in ours)
    return (
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace "
        "WHERE relkind IN ('r', 'p') AND nspname !~ '^pg_' AND nspname <> 'information_schema' "
        f"AND c.oid NOT IN (SELECT o FROM pg_catalog.unnest(ARRAY[{names}]::oid[]) AS o WHERE o IS NOT NULL) "
        f"AND {_OF_NO_EXTENSION})"
    )
