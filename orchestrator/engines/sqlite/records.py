"""The history and golang-migrate's version table, as SQL. All of it runs inside a transaction of the caller."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from orchestrator.engines import foreign
from orchestrator.engines.sqlite.errors import code_of
from orchestrator.model import Attempt, History, Target, VersionRow, read_attempt
from orchestrator.patterns import regex
from orchestrator.records import NamedTuple

DEFAULT = "schema_migrations"
PLAIN_NAME = regex(r"[A-Za-z_][A-Za-z0-9_]*")
# One that a later release adds needs a default, so that it can be added to rows that are there.
COLUMNS = {
    "version": "INTEGER NOT NULL",
    "attempt": "INTEGER NOT NULL",
    "name": "TEXT NOT NULL",
    "direction": "TEXT NOT NULL",
    "checksum": "TEXT NOT NULL",
    "applied": "INTEGER NOT NULL DEFAULT 0",
    "total": "INTEGER NOT NULL DEFAULT 0",
    "in_flight": "INTEGER NOT NULL DEFAULT 0",
    "prefix": "TEXT NOT NULL DEFAULT ''",
    "done": "INTEGER NOT NULL DEFAULT 0",
    "origin": "TEXT NOT NULL DEFAULT 'applied'",
    "started_at": "TEXT NOT NULL DEFAULT ''",
    "finished_at": "TEXT",
    "seconds": "REAL",
    "actor": "TEXT NOT NULL DEFAULT ''",
    "host": "TEXT NOT NULL DEFAULT ''",
    "run_id": "TEXT NOT NULL DEFAULT ''",
    "tool": "TEXT NOT NULL DEFAULT ''",
    "error": "TEXT NOT NULL DEFAULT ''",
    "reason": "TEXT NOT NULL DEFAULT ''",
    "format": "INTEGER NOT NULL DEFAULT 1",
    "texts": "TEXT",
}
_COMPARED = ("version", "attempt", "direction", "checksum", "applied", "in_flight", "done")
_OURS = frozenset(_COMPARED)
INDEX = "version_unique"  # of the version table
# The version table, the history and the index by their names, and tables that may be those of another set of migrations.
_FIND = """\
SELECT type, name, sql FROM sqlite_master
WHERE name COLLATE NOCASE IN (?1, ?2, ?3) OR instr(lower(sql), 'dirty') OR instr(lower(sql), 'checksum')"""


class Raw(NamedTuple):
    """What both tables hold, for comparing; None: there is no such table."""

    version_rows: tuple[tuple[Any, ...], ...] | None
    attempts: tuple[tuple[Any, ...], ...] | None


class Tables(NamedTuple):
    """Which tables are there. `columns` are those of the history, none if there is none.

    `others`: there are other tables that may hold the records of other sets of migrations.
    """

    version_table: bool = False
    has_index: bool = False
    columns: frozenset[str] = frozenset()
    others: bool = False


class Records:
    """The two tables of one target."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.version_table = target.parameters.get("x-migrations-table") or DEFAULT
        # Each set of migrations in a file has its own history beside its version table.
        own = self.version_table != DEFAULT
        self.history = f"{target.history_name}_{self.version_table}" if own else target.history_name
        self._tables = Tables()  # as they were last read
        self._known_columns: tuple[str, frozenset[str]] = ("", frozenset())  # a CREATE TABLE, and what it creates
        self._compared = f"SELECT {', '.join(_COMPARED)} FROM {quoted(self.history)}"
        self._both = (  # one statement instead of two: with other threads at work, each call takes longer than its work
            f"SELECT 0, version, dirty{', NULL' * (len(_COMPARED) - 2)} FROM {quoted(self.version_table)} "
            f"UNION ALL SELECT 1, {self._compared.removeprefix('SELECT ')} ORDER BY 1, 2, 3"
        )

    def read(self, connection: sqlite3.Connection) -> tuple[Raw, History]:
        """Return what the tables hold. ConflictError for what orch cannot have written."""
        tables = self._tables = self._find(connection)
        columns = tables.columns
        versions = self._versions(connection)
        attempts: list[Attempt] = []
        raw: tuple[tuple[Any, ...], ...] | None = None
        if columns:
            names = sorted(columns - {"texts"})  # which nobody needs every time
            listed = ", ".join(map(quoted, names))
            cursor = connection.execute(f"SELECT {listed} FROM {quoted(self.history)} ORDER BY version, attempt")
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
            attempts = [self._attempt(row) for row in rows]
            raw = tuple(tuple(row[key] for key in _COMPARED) for row in rows)
        rows_of_version = tuple(map(self._version_row, versions or ()))
        version_row = rows_of_version[0] if rows_of_version else VersionRow(None)
        history = History(
            store=bool(columns),
            version_row=None if versions is None else version_row,
            attempts=tuple(attempts),
            unrecorded=0 if columns or versions is not None else self._others(connection),
            emptied=bool(columns) and not attempts,
            rows=rows_of_version if len(set(rows_of_version)) > 1 else (),
        )
        return Raw(versions, raw), history

    def read_raw(self, connection: sqlite3.Connection) -> Raw:
        """Return what the tables hold, only to compare it; most reads of a migration are for that."""
        self._tables = self._find(connection)
        return self._raw(connection)

    def _raw(self, connection: sqlite3.Connection) -> Raw:
        tables = self._tables
        if tables.version_table and tables.columns:
            try:
                rows = connection.execute(self._both).fetchall()
                versions = tuple(row[1:3] for row in rows if row[0] == 0)
                return Raw(versions, tuple(row[1:] for row in rows[len(versions) :]))
            except sqlite3.OperationalError as error:
                if code_of(error) != "SQLITE_ERROR":
                    raise
                # The version table is not golang-migrate's: `_versions` says what it is.
        query = f"{self._compared} ORDER BY 1, 2"
        attempts = tuple(connection.execute(query).fetchall()) if tables.columns else None
        return Raw(self._versions(connection), attempts)

    def of_other_sets(self, connection: sqlite3.Connection) -> dict[str, tuple[Any, ...]]:
        """Return what the version tables and histories of other sets hold, of those that the last read has found."""
        if not self._tables.others:
            return {}
        query = (
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN (?, ?) "
            "AND substr(lower(sql), 1, 14) <> 'create virtual' "  # its module may be one that this program has not
            "AND (instr(lower(sql), 'dirty') OR instr(lower(sql), 'checksum')) AND ("  # all other tables lack the columns
            "(SELECT group_concat(name) FROM (SELECT lower(name) AS name FROM pragma_table_info(sqlite_master.name) "
            "ORDER BY 1)) = 'dirty,version' OR "
            "(SELECT count(*) FROM pragma_table_info(sqlite_master.name) "
            "WHERE name IN ('version', 'attempt', 'direction', 'checksum', 'done')) = 5)"
        )
        names = [row[0] for row in connection.execute(query, (self.version_table, self.history)).fetchall()]
        return {name: tuple(connection.execute(f"SELECT * FROM {quoted(name)}").fetchall()) for name in names}

    def kept_texts(self, connection: sqlite3.Connection, version: int | None) -> dict[tuple[int, int], str]:
        """Return the texts in the rows of a version, or of all, by version and attempt."""
        if "texts" not in self._find(connection).columns:
            return {}
        query = f"SELECT version, attempt, texts FROM {quoted(self.history)} WHERE texts IS NOT NULL"
        return {(row[0], row[1]): row[2] for row in connection.execute(query) if version in (None, row[0])}

    def kept_snapshot(self, connection: sqlite3.Connection) -> str:
        """Return the schema snapshot that is kept beside the history; '' if there is none."""
        query = "SELECT type FROM sqlite_master WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE"
        name = f"{self.history}_snapshot"
        if (row := connection.execute(query, (name,)).fetchone()) is None:
            return ""
        if row[0] == "view":
            raise foreign.no_table(self._target.database_id, name, "view")
        row = connection.execute(f"SELECT max(snapshot) FROM {quoted(name)}").fetchone()
        return str(row[0] or "")

    def keep_snapshot(self, connection: sqlite3.Connection, text: str) -> None:
        """Keep a schema snapshot beside the history, in place of the one before."""
        table = quoted(f"{self.history}_snapshot")
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (snapshot TEXT NOT NULL)")
        connection.execute(f"DELETE FROM {table} WHERE snapshot IS NOT NULL")
        connection.execute(f"INSERT INTO {table} (snapshot) VALUES (?)", (text,))

    def write(
        self, connection: sqlite3.Connection, known: Raw, attempts: Sequence[Attempt], version_row: VersionRow | None
    ) -> Raw:
        """Make what is missing of the two tables, write, and return what they hold then.

        `known` is what the last read has found, in this transaction.
        """
        # golang-migrate's own statements: a second version table in a file gets no index, as its name is taken.
        tables = self._tables
        if not tables.version_table:
            connection.execute(f"CREATE TABLE {self.version_table} (version uint64,dirty bool)")
        if not tables.has_index:
            connection.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS {INDEX} ON {self.version_table} (version)")
        there = tables.columns
        if not there:
            columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
            created = f"CREATE TABLE {quoted(self.history)} ({columns}, PRIMARY KEY (version, attempt))"
            connection.execute(created)
            self._known_columns = created, frozenset(COLUMNS)  # SQLite keeps the text as it is
        for name, kind in COLUMNS.items() if there else ():
            if name not in there:
                connection.execute(f"ALTER TABLE {quoted(self.history)} ADD COLUMN {name} {kind}")
        self._tables = Tables(True, True, frozenset(COLUMNS), tables.others)
        begun = {row[:2] for row in known.attempts or ()}
        for attempt in attempts:
            self._record(connection, attempt, again=(attempt.version, attempt.number) in begun)
        if version_row is not None:
            if known.version_rows:
                connection.execute(f"DELETE FROM {self.version_table}")
            if version_row.version is not None:
                query = f"INSERT INTO {self.version_table} (version, dirty) VALUES (?, ?)"
                connection.execute(query, (version_row.version, version_row.dirty))
        return self._raw(connection)

    def _record(self, connection: sqlite3.Connection, attempt: Attempt, *, again: bool) -> None:
        now = started = datetime.now(UTC)
        if again:
            key = attempt.version, attempt.number
            query = f"SELECT started_at FROM {quoted(self.history)} WHERE version = ? AND attempt = ?"
            started = _time(connection.execute(query, key).fetchone()[0]) or now
        values: dict[str, Any] = {
            "version": attempt.version,
            "attempt": attempt.number,
            "name": attempt.name,
            "direction": attempt.direction.value,
            "checksum": attempt.checksum,
            "applied": attempt.applied,
            "total": attempt.total,
            "in_flight": attempt.in_flight,
            "prefix": attempt.prefix,
            "done": attempt.done,
            "origin": attempt.origin.value,
            "started_at": started.isoformat(),
            "finished_at": max(now, started).isoformat() if attempt.done else None,
            "seconds": max(0.0, (now - started).total_seconds()) if attempt.done else None,
            "actor": attempt.actor,
            "host": os.uname().nodename,
            "run_id": attempt.run_id,
            "tool": attempt.tool,
            "error": attempt.error,
            "reason": attempt.reason,
            "format": attempt.format,
        }
        if attempt.texts:
            values["texts"] = attempt.texts
        marks = ", ".join("?" * len(values))
        query = f"INSERT INTO {quoted(self.history)} AS h ({', '.join(values)}) VALUES ({marks})"
        if again:
            updates = ", ".join(f"{name} = excluded.{name}" for name in values if name not in ("version", "attempt"))
            query = f"{query} ON CONFLICT (version, attempt) DO UPDATE SET {updates} WHERE NOT h.done"
        connection.execute(query, [_storable(value) for value in values.values()])

    def _attempt(self, row: dict[str, Any]) -> Attempt:
        try:
            return read_attempt(
                {
                    **dict.fromkeys(("name", "prefix"), ""),
                    **dict.fromkeys(("applied", "total"), 0),
                    "origin": "applied",
                    **row,
                    "in_flight": bool(row.get("in_flight")),
                    "done": bool(row["done"]),
                }
            )
        except (KeyError, ValueError, TypeError):
            raise foreign.other_row(self._target.database_id, self.history) from None

    def _version_row(self, row: tuple[Any, ...]) -> VersionRow:
        version, dirty = row
        if not isinstance(version, int):
            raise foreign.odd_version(self._target.database_id, self.version_table, row)
        return VersionRow(version, dirty=dirty in (1, "true", "TRUE", "1"))

    def _versions(self, connection: sqlite3.Connection) -> tuple[tuple[Any, ...], ...] | None:
        """Return the rows of golang-migrate's table, None if there is none; ConflictError for a table that is not its."""
        if not self._tables.version_table:
            return None
        try:
            query = f"SELECT version, dirty FROM {quoted(self.version_table)} ORDER BY 1, 2"
            return tuple(connection.execute(query).fetchall())
        except sqlite3.OperationalError:
            found = connection.execute("SELECT name FROM pragma_table_info(?)", (self.version_table,)).fetchall()
            columns = [row[0] for row in found]
            if {"version", "dirty"} <= {one.lower() for one in columns}:
                raise
            raise foreign.other_version_table(self._target.database_id, self.version_table, columns) from None

    def _find(self, connection: sqlite3.Connection) -> Tables:
        """Look which tables are there; ConflictError for one that is not ours, or a view in its place."""
        version_table = index = others = False
        columns: frozenset[str] = frozenset()
        ours = {_folded(name): name for name in (self.version_table, self.history)}
        for kind, name, sql in connection.execute(_FIND, (*ours.values(), INDEX)).fetchall():
            own = ours.get(_folded(name))
            if kind == "view" and own:
                raise foreign.no_table(self._target.database_id, own, kind)
            if kind == "index":
                index = index or _folded(name) == INDEX
            elif kind == "table" and own is None:
                others = True
            elif kind == "table" and own and sql[:14].lower() == "create virtual":
                raise foreign.no_table(self._target.database_id, own, "virtual table")
            elif kind == "table" and own == self.history:
                columns = self._columns(connection, sql)
            elif kind == "table":
                version_table = True
        return Tables(version_table, index, columns, others)

    def _columns(self, connection: sqlite3.Connection, sql: str) -> frozenset[str]:
        """Return the columns of the history, which this statement created; ConflictError for a table that is not ours."""
        if sql != self._known_columns[0]:
            found = [row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (self.history,))]
            if not {*found} >= _OURS:
                raise foreign.other_history(self._target.database_id, self.history, found)
            self._known_columns = sql, frozenset(found)
        return self._known_columns[1]

    def _others(self, connection: sqlite3.Connection) -> int:
        query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        return int(connection.execute(query).fetchone()[0])


def quoted(name: str) -> str:
    """Return a name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def _folded(name: str) -> str:
    """Return a name so that it equals those which SQLite takes for the same."""
    return name.lower() if name.isascii() else name


def _storable(value: Any) -> Any:
    """Return a value as the driver takes it: texts of files may hold halves of characters."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
