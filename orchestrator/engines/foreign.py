"""The errors for tables with the names of orch's own that are something else: tables of other tools, views, odd rows."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.errors import ConflictError
from orchestrator.hints import Blank, Command, Hint


def no_table(database_id: str, table: str, kind: str) -> ConflictError:
    """Return the error for `kind`, such as "view", in the place of a table."""
    return ConflictError(
        f"{database_id}: {table} is not a table (it is a {kind})",
        detail="orch reads and writes its records in tables of its own, never through something else",
        hint=f"put the table back in its place: whoever made {table} can tell where it went",
    )


def no_collection(database_id: str, name: str, kind: str) -> ConflictError:
    """Return the error for `kind`, such as "view", in the place of a collection of MongoDB."""
    return ConflictError(
        f"{database_id}: {name} is not a plain collection (it is a {kind})",
        detail="orch keeps its records in plain collections, from which no document disappears by itself",
        hint=f"put the collection back in its place: ask whoever created this {name}",
    )


def other_history(database_id: str, table: str, columns: Iterable[str]) -> ConflictError:
    """Return the error for a history that is another tool's, with its columns."""
    return ConflictError(
        f"{database_id}: {table} is not orch's history table but another tool's",
        detail=f"its columns are {', '.join(columns)}",
        hint=f"rename it (ALTER TABLE {table} RENAME TO …), or let orch use another name: history in databases.yaml",
    )


def other_row(database_id: str, table: str) -> ConflictError:
    """Return the error for a row of the history that orch cannot have written."""
    return ConflictError(
        f"{database_id}: a row of {table} is not one that orch wrote",
        hint="who changed it? Put it back as it was",
    )


def other_version_table(database_id: str, table: str, columns: Iterable[str]) -> ConflictError:
    """Return the error for a version table that is another tool's, with its columns."""
    return ConflictError(
        f"{database_id}: {table} is not golang-migrate's table but another tool's",
        detail=f"its columns are {', '.join(columns)}; golang-migrate's are version bigint, dirty boolean",
        hint=Hint(
            "give orch one of its own: x-migrations-table=orch_migrations in the DSN; "
            "and if these migrations have run already: ",
            Command("baseline", database_id, "--version", Blank("VERSION")),
        ),
    )


def odd_version(database_id: str, table: str, row: Iterable[object]) -> ConflictError:
    """Return the error for a row of the version table that golang-migrate cannot have written."""
    return ConflictError(
        f"{database_id}: a row of {table} is not one that golang-migrate wrote",
        detail=f"it holds {', '.join(map(repr, row))}; golang-migrate writes a version and whether it is dirty (0 or 1)",
        hint="correct that row, or remove it if another one holds the version",
    )
