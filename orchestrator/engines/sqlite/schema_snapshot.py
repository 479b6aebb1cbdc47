"""Read the schema of an SQLite database: sqlite_schema and the columns of each table."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

from orchestrator.model import SchemaObject, SchemaSnapshot

_OBJECTS = """SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master
    WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name"""
_COLUMNS = "SELECT name, type, \"notnull\", coalesce(dflt_value, ''), pk, hidden FROM pragma_table_xinfo(?)"
_TOKEN = re.compile(
    r"(?P<text>'(?:[^']|'')*')|\"(?P<name>[A-Za-z_][A-Za-z0-9_]*)\"|(?P<quoted>\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\])"
    r"|(?P<blank>--[^\n]*|/\*.*?\*/|\s+)|(?P<mark>[(),])|.",
    re.DOTALL,
)


def read_schema(connection: sqlite3.Connection, ours: Sequence[str]) -> SchemaSnapshot:
    """Return every table, column, index, view and trigger with its definition, without the tables of the bookkeeping.

    The definition of a table is its whole text, which alone tells of constraints, WITHOUT ROWID and STRICT.
    """
    found: dict[SchemaObject, str] = {}
    hidden = {name.lower() for name in ours}
    for kind, name, table, text in connection.execute(_OBJECTS).fetchall():
        if table.lower() in hidden:
            continue
        owner = table if kind in ("index", "trigger") else ""
        if kind != "table":
            found[SchemaObject(kind, name, owner)] = _spelled(text)
            continue
        found[SchemaObject("table", name)] = _spelled(text)
        for column, type_, not_null, default, key, extra in _columns(connection, name, text):
            facts = [type_, "NOT NULL" * not_null, f"DEFAULT {default}" if default else "", f"KEY {key}" if key else ""]
            facts.append(f"GENERATED {extra}" if extra else "")
            found[SchemaObject("column", f"{name}.{column}", name)] = " ".join(filter(None, facts))
    for name in ("user_version", "application_id"):
        if value := connection.execute(f"PRAGMA {name}").fetchone()[0]:
            found[SchemaObject("pragma", name)] = str(value)
    mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    if mode == "wal":  # the others are of a connection
        found[SchemaObject("pragma", "journal_mode")] = mode
    return found


def _columns(connection: sqlite3.Connection, table: str, text: str) -> list[tuple[str, str, int, str, int, int]]:
    """Return the columns of a table; none of a virtual table whose module this program has not: its text says all."""
    try:
        return connection.execute(_COLUMNS, (table,)).fetchall()
    except sqlite3.OperationalError:
        if text[:14].lower() != "create virtual":
            raise
        return []


def _spelled(text: str) -> str:
    """Return a definition without comments, quotes around plain names, and blanks that mean nothing.

    ALTER TABLE leaves comments and blanks as it finds them, and puts the names that it changes into quotes.
    """
    parts: list[str] = []
    blank = False
    for found in _TOKEN.finditer(text):
        if found["blank"]:
            blank = True
            continue
        if blank and parts and not (found["mark"] or parts[-1] in ("(", ")", ",")):
            parts.append(" ")
        parts.append(found["name"] or found[0])
        blank = False
    return "".join(parts)
