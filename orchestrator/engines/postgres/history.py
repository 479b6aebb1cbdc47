"""SQL of the history table and of golang-migrate's version table."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from orchestrator.model import Attempt, VersionRow

if TYPE_CHECKING:
    from orchestrator.engines.postgres.libpq import AnyConnection

# One that a later release adds needs a default, so that it can be added to rows that are there, and so that this
# release can still write rows.
COLUMNS = {
    "version": "bigint NOT NULL",
    "attempt": "integer NOT NULL",
    "name": "text NOT NULL",
    "direction": "text NOT NULL",
    "checksum": "text NOT NULL",
    "applied": "integer NOT NULL DEFAULT 0",
    "total": "integer NOT NULL DEFAULT 0",
    "in_flight": "boolean NOT NULL DEFAULT false",
    "prefix": "text NOT NULL DEFAULT ''",
    "done": "boolean NOT NULL DEFAULT false",
    "origin": "text NOT NULL DEFAULT 'applied'",
    "started_at": "timestamptz NOT NULL DEFAULT now()",
    "finished_at": "timestamptz",
    "seconds": "double precision",
    "actor": "text NOT NULL DEFAULT ''",
    "run_id": "text NOT NULL DEFAULT ''",
    "tool": "text NOT NULL DEFAULT ''",
    "error": "text NOT NULL DEFAULT ''",
    "reason": "text NOT NULL DEFAULT ''",
    "format": "integer NOT NULL DEFAULT 1",
    "identity": "text NOT NULL DEFAULT ''",
    "role": "text NOT NULL DEFAULT ''",
    "host": "text NOT NULL DEFAULT ''",
    "texts": "text",
}
TEXTS = "texts"
# What the history of every release has, and the table of another tool that has its name has not.
OURS = frozenset({"version", "attempt", "direction", "checksum", "done"})
# Stands on a history that belongs to the search_path of a DSN: no other DSN may take it for its own.
SET_BY_DSN = "orch: the history of the DSN whose search_path begins with this schema"


def create_history(table: str, *, set_by_dsn: bool) -> str:
    """Return SQL that makes the history table."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    text = f"CREATE TABLE IF NOT EXISTS {table} ({columns}, PRIMARY KEY (version, attempt)); "
    return text + (f"COMMENT ON TABLE {table} IS '{SET_BY_DSN}'; " if set_by_dsn else "")


def create_session(table: str) -> str:
    """Return SQL that adds the column for the state of the session in which a file runs statement by statement.

    It comes with the first such file; the record of a migration does not need it.
    """
    quietly = "SET LOCAL client_min_messages = warning; SET LOCAL lock_timeout = '2s'; "
    return f"{quietly}ALTER TABLE {table} ADD COLUMN IF NOT EXISTS session text NOT NULL DEFAULT ''; "


def complete_history(table: str, columns: Collection[str]) -> str:
    """Return SQL that adds what the history table of an earlier release lacks."""
    lacking = (f"ADD COLUMN IF NOT EXISTS {name} {kind}" for name, kind in COLUMNS.items() if name not in columns)
    changes = ", ".join(lacking)
    return f"ALTER TABLE {table} {changes}; " if changes else ""


def create_version_table_sql(table: str) -> str:
    """Return SQL that makes golang-migrate's table as it does."""
    return f"CREATE TABLE IF NOT EXISTS {table} (version bigint not null primary key, dirty boolean not null); "


def point(table: str, version_row: VersionRow) -> str:
    """Return SQL that sets the version table; no version: an empty table, as golang-migrate leaves it after the last down."""
    text = f"DELETE FROM {table}; "
    if version_row.version is not None:
        text += f"INSERT INTO {table} (version, dirty) VALUES ({int(version_row.version)}, {version_row.dirty}); "
    return text


def record(
    connection: AnyConnection, table: str, attempt: Attempt, identity: str, columns: Collection[str] = COLUMNS
) -> str:
    """Return SQL that adds or updates an attempt; the connection knows how values are quoted. `identity` is SQL.

    `columns` are those that the table has: who does not own the table of an earlier release cannot add to it.

    Times are the server's: an attempt starts with the transaction of its first record, and ends at its last.
    """

    def text(value: str) -> str:
        return literal(connection, value)

    finished = "clock_timestamp()" if attempt.done else "NULL"
    known = {
        "version": str(attempt.version),
        "attempt": str(attempt.number),
        "name": text(attempt.name),
        "direction": text(attempt.direction.value),
        "checksum": text(attempt.checksum),
        "applied": str(attempt.applied),
        "total": str(attempt.total),
        "in_flight": str(attempt.in_flight),
        "prefix": text(attempt.prefix),
        "done": str(attempt.done),
        "origin": text(attempt.origin.value),
        "started_at": "now()",
        "finished_at": finished,
        "seconds": f"greatest(0, extract(epoch FROM {finished} - now()))" if attempt.done else "NULL",
        "actor": text(attempt.actor),
        "run_id": text(attempt.run_id),
        "tool": text(attempt.tool),
        "error": text(attempt.error),
        "reason": text(attempt.reason),
        "format": str(attempt.format),
        "identity": identity,
        "role": "session_user",
        "host": text(os.uname().nodename),
        "texts": text(attempt.texts) if attempt.texts else "NULL",
    }
    values = {name: value for name, value in known.items() if name in columns}
    kept = ("version", "attempt", "started_at", "seconds", *(() if attempt.texts else ("texts",)))
    updates = [f"{c} = EXCLUDED.{c}" for c in values if c not in kept]
    updates.append(
        f"seconds = greatest(0, extract(epoch FROM {finished} - h.started_at))" if attempt.done else "seconds = NULL"
    )
    return (
        f"INSERT INTO {table} AS h ({', '.join(values)}) VALUES ({', '.join(values.values())}) "
        f"ON CONFLICT (version, attempt) DO UPDATE SET {', '.join(updates)} WHERE NOT h.done; "
    )


def literal(connection: AnyConnection, value: str) -> str:
    """Return a text as SQL."""
    if not hasattr(connection, "pgconn"):
        return connection.literal(value)
    from psycopg.pq import Escaping

    return Escaping(connection.pgconn).escape_literal(value.encode()).decode()


def identifier(name: str) -> str:
    """Return a name as SQL."""
    return '"' + name.replace('"', '""') + '"'


_OID = "(pg_catalog.pg_get_object_address('database', ARRAY[pg_catalog.current_database()::text], '{}')).objid"


def identity_query(system: str) -> str:
    """Return SQL for rows that say which database this is. `system` is SQL for the identifier of the server.

    (Plain facts, and a function for the oid: the server takes longer to plan a query that makes a document of them.)
    """
    return (
        f"SELECT 'system', {system} UNION ALL SELECT 'oid', {_OID}::text "
        "UNION ALL SELECT 'name', pg_catalog.current_database()::text"
    )


def identity_of(rows: Iterable[tuple[str, str]]) -> dict[str, Any] | None:
    """Return the identity that the rows of `identity_query` tell; None if there are none."""
    told = {what: text for what, text in rows if what in ("system", "oid", "name")}
    if not told:
        return None
    system = told["system"]
    return {"server": [system] if system else [], "store": f"{system}/{told['oid']}", "name": told["name"]}


def identity_sql(system: str, took_over: str = "") -> str:
    """Return SQL for a JSON document that says which database this is.

    `system` is SQL for the identifier of the server, `took_over` a literal with the identities that are taken over.
    """
    more = f", 'took_over', {took_over}::json" if took_over else ""
    return (
        "(SELECT pg_catalog.json_build_object('server', pg_catalog.array_remove(ARRAY[s], ''), "
        f"'store', s || '/' || {_OID}, 'name', pg_catalog.current_database(){more}) FROM (SELECT {system} AS s) AS s)"
    )
