"""What became of a statement that takes rows away and leaves the definition as it was: TRUNCATE, CREATE OR REPLACE TABLE.

Done a second time, it would take what others have written since the first time.
"""

from __future__ import annotations

import re
from typing import Any

import pymysql

from orchestrator.engines.base import Effect
from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.named import Named, quoted
from orchestrator.engines.mysql.records import text

# The server gives a table a new id when it empties it, and also for OPTIMIZE: only the same id tells something for certain.
_ID_TABLES = ("information_schema.INNODB_SYS_TABLES", "information_schema.INNODB_TABLES")  # MariaDB, MySQL
_SPECIAL = re.compile(r"[^0-9A-Za-z_]")


def files_of(connection: Any, table: Named) -> str:
    """Return the ids of a table in InnoDB, one for each partition; '' if they cannot be told, as to a login without PROCESS."""
    database = table.database or str(ask(connection, "SELECT DATABASE()")[0][0])
    if not (database + table.name).isascii():  # letters that InnoDB writes in a way of its own
        return ""
    place = "/".join(_SPECIAL.sub(lambda found: f"@{ord(found[0]):04x}", name) for name in (database, table.name))
    name = "LOWER(CONVERT(NAME USING utf8mb4))"
    part = text(f"{place.lower()}#p#")
    query = f"WHERE {name} = {text(place.lower())} OR LEFT({name}, CHAR_LENGTH({part})) = {part} ORDER BY TABLE_ID"
    for ids in _ID_TABLES:
        try:
            rows = ask(connection, f"SELECT TABLE_ID FROM {ids} {query}")  # noqa: S608 - our own texts
        except pymysql.Error:
            if not connection.open:
                raise
        else:
            return ",".join(str(id) for (id,) in rows)
    return ""


def was_emptied(connection: Any, table: Named, before: str) -> tuple[Effect, str]:
    """Return what became of the statement; `before` is what `files_of` returned before it ran."""
    what = f"table {table.name}"
    if before and files_of(connection, table) == before:
        return Effect.NOT_DONE, f"{what} is as before"
    try:
        has_rows = bool(ask(connection, f"SELECT 1 FROM {quoted(table)} LIMIT 1"))  # noqa: S608 - a quoted name
    except pymysql.Error as error:
        if errors.code_of(error) in errors.MISSING:
            return Effect.NOT_DONE, f"{what} is as before"
        if not connection.open:
            raise
        return Effect.UNKNOWN, f"this login may not read {what}"
    if not has_rows:
        return Effect.NOT_DONE, f"{what} has no rows: it can be made again with the same end"
    return Effect.UNKNOWN, f"{what} has rows, and nobody knows whether they were written before or after it"
