"""What became of a statement that cannot be part of a transaction and whose end was not recorded."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg import sql

from orchestrator.engines.base import Effect
from orchestrator.model import Statement

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.S)
_NAME = r'((?:"(?:[^"]|"")+"|[\w$]+)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[\w$]+))?)'
_CREATE_INDEX = re.compile(
    rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:{_NAME}\s+)?ON\s+(?:ONLY\s+)?{_NAME}",
    re.I,
)
_DROP_INDEX = re.compile(rf"DROP\s+INDEX\s+CONCURRENTLY\s+(?:IF\s+EXISTS\s+)?{_NAME}\s*(?:CASCADE|RESTRICT)?\s*$", re.I)
_CREATE_DATABASE = re.compile(rf"CREATE\s+DATABASE\s+{_NAME}", re.I)
_DROP_DATABASE = re.compile(rf"DROP\s+DATABASE\s+(?:IF\s+EXISTS\s+)?{_NAME}", re.I)
# Running these once more ends in the same state as running them once.
_REPEATABLE = re.compile(r"(VACUUM|REINDEX|ALTER\s+SYSTEM|CLUSTER|ALTER\s+DATABASE|ALTER\s+SUBSCRIPTION)\b", re.I)


def probe(connection: psycopg.Connection[Any], statement: Statement) -> tuple[Effect, str]:
    """Ask the catalogue. An INVALID index, the debris of a CONCURRENTLY that was cut off, is dropped on the way."""
    text = _COMMENT.sub(" ", statement.body).strip()
    if match := _CREATE_INDEX.match(text):
        return _create_index(connection, match)
    if match := _DROP_INDEX.match(text):
        return _gone(f"index {match[1]}", _index(connection, match[1]) is None)
    if match := _CREATE_DATABASE.match(text):
        there = _database(connection, match[1])
        return (Effect.DONE if there else Effect.NOT_DONE), f"database {match[1]} {'is' if there else 'is not'} there"
    if match := _DROP_DATABASE.match(text):
        return _gone(f"database {match[1]}", not _database(connection, match[1]))
    if _REPEATABLE.match(text):
        return Effect.NOT_DONE, "it can safely be run once more"
    return Effect.UNKNOWN, "the catalogue cannot tell whether it was done"


def _create_index(connection: psycopg.Connection[Any], match: re.Match[str]) -> tuple[Effect, str]:
    name, table = match[1], match[2]
    if name is None:
        return Effect.UNKNOWN, "the index has no name of its own, so it cannot be looked up"
    if "." not in name and "." in table:
        name = f"{table.rpartition('.')[0].strip()}.{name}"  # an index lives in the schema of its table
    row = _index(connection, name)
    if row is None:
        return Effect.NOT_DONE, f"index {name} is not there"
    if row[0]:
        return Effect.DONE, f"index {name} is there and valid"
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.SQL(name)))
    return Effect.NOT_DONE, f"index {name} was there and INVALID, and was dropped"


def _index(connection: psycopg.Connection[Any], name: str) -> Any:
    return connection.execute(
        "SELECT indisvalid AND indisready FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass(%s)",
        (name,),
    ).fetchone()


def _database(connection: psycopg.Connection[Any], name: str) -> bool:
    query = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s"
    plain = name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
    return connection.execute(query, (plain,)).fetchone() is not None


def _gone(what: str, gone: bool) -> tuple[Effect, str]:
    return (Effect.DONE if gone else Effect.NOT_DONE), f"{what} is {'gone' if gone else 'still there'}"
