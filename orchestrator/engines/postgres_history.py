"""The history table and golang-migrate's pointer table, as SQL."""

from __future__ import annotations

from typing import Any

from psycopg import Connection, sql

from orchestrator.model import Pointer, Revision

_COLUMNS = """(
    version bigint NOT NULL, attempt integer NOT NULL, name text NOT NULL, direction text NOT NULL,
    checksum text NOT NULL, applied integer NOT NULL, total integer NOT NULL, in_flight boolean NOT NULL,
    prefix text NOT NULL, done boolean NOT NULL, origin text NOT NULL,
    started_at timestamptz NOT NULL, finished_at timestamptz, seconds double precision,
    actor text NOT NULL, run_id text NOT NULL, tool text NOT NULL, error text NOT NULL, reason text NOT NULL,
    format integer NOT NULL, PRIMARY KEY (version, attempt))"""


def create_history(table: str) -> str:
    """Return SQL that makes the history table."""
    return f"CREATE TABLE IF NOT EXISTS {table} {_COLUMNS}; "


def create_pointer(table: str) -> str:
    """Return SQL that makes golang-migrate's table as it does."""
    return f"CREATE TABLE IF NOT EXISTS {table} (version bigint not null primary key, dirty boolean not null); "


def point(table: str, pointer: Pointer) -> str:
    """Return SQL that sets the pointer; no version: an empty table, as golang-migrate leaves it after the last down."""
    text = f"DELETE FROM {table}; "
    if pointer.version is not None:
        text += f"INSERT INTO {table} VALUES ({int(pointer.version)}, {pointer.dirty}); "
    return text


def record(connection: Connection[Any], table: str, revision: Revision) -> str:
    """Return SQL that adds or updates a revision; the connection knows how values are quoted.

    Times are the server's: an attempt starts with the transaction of its first record, and ends at its last.
    """

    def literal(value: str) -> str:
        return sql.Literal(value).as_string(connection)

    finished = "clock_timestamp()" if revision.done else "NULL"
    values = {
        "version": str(revision.version),
        "attempt": str(revision.attempt),
        "name": literal(revision.name),
        "direction": literal(revision.direction.value),
        "checksum": literal(revision.checksum),
        "applied": str(revision.applied),
        "total": str(revision.total),
        "in_flight": str(revision.in_flight),
        "prefix": literal(revision.prefix),
        "done": str(revision.done),
        "origin": literal(revision.origin.value),
        "started_at": "now()",
        "finished_at": finished,
        "seconds": f"extract(epoch FROM {finished} - now())" if revision.done else "NULL",
        "actor": literal(revision.actor),
        "run_id": literal(revision.run_id),
        "tool": literal(revision.tool),
        "error": literal(revision.error),
        "reason": literal(revision.reason),
        "format": str(revision.format),
    }
    updates = [f"{c} = EXCLUDED.{c}" for c in values if c not in ("version", "attempt", "started_at", "seconds")]
    updates.append(f"seconds = extract(epoch FROM {finished} - h.started_at)" if revision.done else "seconds = NULL")
    return (
        f"INSERT INTO {table} AS h ({', '.join(values)}) VALUES ({', '.join(values.values())}) "
        f"ON CONFLICT (version, attempt) DO UPDATE SET {', '.join(updates)}; "
    )


def identifier(name: str) -> str:
    """Return a name as SQL."""
    return '"' + name.replace('"', '""') + '"'
