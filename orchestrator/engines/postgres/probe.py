"""Find out what a statement outside of a transaction did whose end was not recorded."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg import sql

from orchestrator.engines.base import Effect
from orchestrator.errors import StatementError
from orchestrator.model import Statement

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.S)
_PART = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_NAME = rf"({_PART}(?:\s*\.\s*{_PART})?)"
_CREATE_INDEX = re.compile(
    rf"CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:({_PART})\s+)?ON\s+(?:ONLY\s+)?{_NAME}",
    re.I,
)
_DROP_INDEX = re.compile(rf"DROP\s+INDEX\s+CONCURRENTLY\s+(?:IF\s+EXISTS\s+)?{_NAME}\s*(?:CASCADE|RESTRICT)?\s*$", re.I)
_REINDEX = re.compile(rf"REINDEX\s+(?:\([^()]*\)\s*)?(?:TABLE|INDEX)\s+(?:CONCURRENTLY\s+)?{_NAME}\s*$", re.I)
_DETACH = re.compile(
    rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?{_NAME}\s+DETACH\s+PARTITION\s+{_NAME}\s+CONCURRENTLY\s*$", re.I
)
_CREATE_DATABASE = re.compile(rf"CREATE\s+DATABASE\s+{_NAME}", re.I)
_DROP_DATABASE = re.compile(rf"DROP\s+DATABASE\s+(?:IF\s+EXISTS\s+)?{_NAME}", re.I)
# Running these once more ends in the same state as running them once.
_REPEATABLE = re.compile(
    r"(VACUUM|REINDEX|ALTER\s+SYSTEM|CLUSTER|ALTER\s+DATABASE|ALTER\s+SUBSCRIPTION"
    r"|SET|DECLARE|LOCK|RELEASE|ROLLBACK\s+TO|ROLLBACK\s+(?:WORK|TRANSACTION)\s+TO|SAVEPOINT)\b",
    re.I,
)


def probe(connection: psycopg.Connection[Any], statement: Statement) -> tuple[Effect, str]:
    """Ask the catalogue. The debris of a CONCURRENTLY that was cut off, an INVALID index, is dropped on the way."""
    text = _COMMENT.sub(" ", statement.body).strip()
    if match := _CREATE_INDEX.match(text):
        return _create_index(connection, statement, match)
    if match := _DROP_INDEX.match(text):
        return _gone(f"index {match[1]}", _index(connection, match[1]) is None)
    if match := _DETACH.match(text):
        return _detach(connection, match[1], match[2])
    if match := _CREATE_DATABASE.match(text):
        there = _database(connection, match[1])
        return (Effect.DONE if there else Effect.NOT_DONE), f"database {match[1]} {'is' if there else 'is not'} there"
    if match := _DROP_DATABASE.match(text):
        return _gone(f"database {match[1]}", not _database(connection, match[1]))
    if _REPEATABLE.match(text):
        if match := _REINDEX.match(text):
            for oid in connection.execute(_REINDEX_DEBRIS, {"name": match[1]}).fetchall():
                _drop_invalid(connection, statement, oid[0])
        return Effect.NOT_DONE, "it can safely be run once more"
    return Effect.UNKNOWN, "the catalogue cannot tell whether it was done"


def _create_index(
    connection: psycopg.Connection[Any], statement: Statement, match: re.Match[str]
) -> tuple[Effect, str]:
    unique, name, table = match.groups()
    if name is None:
        return Effect.UNKNOWN, "the index has no name of its own, so it cannot be looked up"
    # An index lives in the schema of its table, wherever that was found.
    row = connection.execute(
        "SELECT i.indexrelid, i.indisvalid AND i.indisready, i.indrelid = t.oid AND i.indisunique = %s "
        "FROM pg_catalog.pg_class t JOIN pg_catalog.pg_class c USING (relnamespace) "
        "JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid "
        "WHERE t.oid = pg_catalog.to_regclass(%s) AND c.relname = %s::name",
        (bool(unique), table, _plain(name)),
    ).fetchone()
    if row is None:
        return Effect.NOT_DONE, f"index {name} is not there"
    oid, valid, ours = row
    if not ours:
        return Effect.NOT_DONE, f"an index {name} is there, but not the one that the file makes"
    if valid:
        return Effect.DONE, f"index {name} is there and valid"
    _drop_invalid(connection, statement, oid)
    return Effect.NOT_DONE, f"index {name} was there and INVALID, and was dropped"


def _drop_invalid(connection: psycopg.Connection[Any], statement: Statement, oid: int) -> None:
    """Drop debris, unless it is what another session is building just now: then that one is waited for by trying again."""
    builder = connection.execute(_BUILDER, (oid,)).fetchone()
    if builder is not None:
        name, pid, application = builder
        raise StatementError(
            f"index {name} is INVALID, and {application or 'another session'} (backend {pid}) may be building it",
            hint="wait for its end, or end that session",
            code="55006",
            statement=statement,
            transient=True,
        )
    (name,) = connection.execute("SELECT %s::regclass::text", (oid,)).fetchall()[0]
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.SQL(name)))


def _detach(connection: psycopg.Connection[Any], parent: str, part: str) -> tuple[Effect, str]:
    row = connection.execute(
        "SELECT (to_jsonb(i) ->> 'inhdetachpending')::boolean FROM pg_catalog.pg_class c "
        "LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = pg_catalog.to_regclass(%s) "
        "WHERE c.oid = pg_catalog.to_regclass(%s)",
        (parent, part),
    ).fetchone()
    if row is None:
        return Effect.NOT_DONE, f"table {part} is not there"
    if row[0] is None:
        return Effect.DONE, f"table {part} is no partition of {parent}"
    return Effect.NOT_DONE, f"table {part} is {'half detached from' if row[0] else 'still a partition of'} {parent}"


def resumed(connection: psycopg.Connection[Any], statement: Statement) -> str:
    """Return what to send for a statement: its body, or what finishes a detaching that was cut off in the middle."""
    match = _DETACH.match(_COMMENT.sub(" ", statement.body).strip())
    if match and "half" in _detach(connection, match[1], match[2])[1]:
        return f"ALTER TABLE {match[1]} DETACH PARTITION {match[2]} FINALIZE"
    return str(statement.body)


# Whoever builds an index concurrently holds this lock on its table, as VACUUM does; autovacuum gives way by itself.
_BUILDER = """SELECT i.indexrelid::regclass::text, l.pid, a.application_name
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_locks l ON l.relation = i.indrelid
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    WHERE i.indexrelid = %s AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND a.backend_type IS DISTINCT FROM 'autovacuum worker' LIMIT 1"""
# Of one index or all of a table. What such an index is called begins as the index does, cut off where that is long.
_REINDEX_DEBRIS = """SELECT d.indexrelid
    FROM pg_catalog.pg_index d JOIN pg_catalog.pg_class c ON c.oid = d.indexrelid
    WHERE NOT d.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$' AND EXISTS (
        SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class o ON o.oid = i.indexrelid
        WHERE i.indrelid = d.indrelid AND pg_catalog.to_regclass(%(name)s) IN (i.indrelid, i.indexrelid)
        AND pg_catalog.starts_with(o.relname, pg_catalog.regexp_replace(c.relname, '_cc(new|old)[0-9]*$', '')))"""


def _index(connection: psycopg.Connection[Any], name: str) -> Any:
    return connection.execute(
        "SELECT indisvalid AND indisready FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass(%s)",
        (name,),
    ).fetchone()


def _database(connection: psycopg.Connection[Any], name: str) -> bool:
    query = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s"
    return connection.execute(query, (_plain(name),)).fetchone() is not None


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def _gone(what: str, gone: bool) -> tuple[Effect, str]:
    return (Effect.DONE if gone else Effect.NOT_DONE), f"{what} is {'gone' if gone else 'still there'}"
