"""Names of the tables of one set of migrations: the version table from the DSN, and the history that belongs to it."""

from __future__ import annotations

import hashlib
import re
import zlib

from orchestrator.model import Target

DEFAULT = "schema_migrations"
_LOCK_SALT = 1486364155  # golang-migrate's, read from its source (database/util.go)
_LONGEST = 63  # bytes of a name in PostgreSQL


def version_table(target: Target) -> tuple[str | None, str]:
    """Return schema and name of golang-migrate's table; no schema: the current one.

    With `x-migrations-table-quoted` the parameter is an SQL identifier, as in "app"."versions".
    """
    given = target.parameters.get("x-migrations-table") or DEFAULT
    if not is_quoted(target):
        return None, given
    parts = re.findall(r'"(.*?)"', given)  # as golang-migrate reads it
    return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0] if parts else given)


def is_quoted(target: Target) -> bool:
    """Whether the DSN gives the table's name as an SQL identifier."""
    return target.parameters.get("x-migrations-table-quoted", "").lower() in ("1", "t", "true")


def history_table(target: Target) -> str:
    """Return the name of the history that stands beside the version table: each set of migrations has its own."""
    _, table = version_table(target)
    if table == DEFAULT:
        return target.history_name
    name = f"{target.history_name}_{table}"
    if len(name.encode()) <= _LONGEST:
        return name
    return f"{target.history_name[:40]}_{hashlib.sha256(table.encode()).hexdigest()[:16]}"


def lock_key(target: Target, current_schema: str) -> int:
    """Return the key of golang-migrate's advisory lock, as it computes it (util.go): database, schema and table."""
    schema, table = version_table(target)
    name = f"{schema or current_schema}\0{table}\0/{target.database}".encode()
    return (zlib.crc32(name) * _LOCK_SALT) % 2**32


def snapshot_table(history: str) -> str:
    """Return the name of the table beside a history in which a schema snapshot is kept."""
    name = f"{history}_snapshot"
    return (
        name if len(name.encode()) <= _LONGEST else f"orch_snapshot_{hashlib.sha256(history.encode()).hexdigest()[:16]}"
    )
