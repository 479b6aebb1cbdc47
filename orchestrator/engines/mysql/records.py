"""The history and golang-migrate's version table, as SQL that means the same in every session.

Texts are written as `_utf8mb4 X'…'`: no sql_mode and no character set that a file has set changes what they say, and an empty
one is not NULL in EMPTY_STRING_IS_NULL. A version row is found by its key, so that sql_safe_updates lets it be changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple

from orchestrator.engines import foreign
from orchestrator.engines.identity import Identity, document, told, written_elsewhere
from orchestrator.model import Attempt, Origin, Target, VersionRow, read_attempt

DEFAULT = "schema_migrations"
# One that a later release adds must be one that rows can lack: TEXT has no default on MySQL.
COLUMNS = {
    "version": "bigint NOT NULL",
    "attempt": "int NOT NULL",
    "name": "text NULL",
    "direction": "varchar(16) NOT NULL",
    "checksum": "varchar(128) NOT NULL",
    "applied": "int NOT NULL DEFAULT 0",
    "total": "int NOT NULL DEFAULT 0",
    "in_flight": "boolean NOT NULL DEFAULT false",
    "prefix": "varchar(255) NOT NULL DEFAULT X''",
    "done": "boolean NOT NULL DEFAULT false",
    "origin": "varchar(32) NOT NULL DEFAULT 'applied'",
    "started_at": "datetime(6) NULL",
    "finished_at": "datetime(6) NULL",
    "seconds": "double NULL",
    "actor": "text NULL",
    "run_id": "text NULL",
    "tool": "varchar(64) NOT NULL DEFAULT X''",
    "error": "mediumtext NULL",
    "reason": "mediumtext NULL",
    "format": "int NOT NULL DEFAULT 1",
    "identity": "mediumtext NULL",
    "role": "text NULL",
    "host": "text NULL",
    "seen_before": "mediumtext NULL",
    "texts": "longtext NULL",
}
"""`seen_before` holds what a statement named looked like before it ran: its intent, for who asks what became of it."""
READ = (*(name for name in COLUMNS if name != "texts"), "texts")
"""The columns of the history as it is read; `texts` only says whether there are any."""
_OURS = frozenset({"version", "attempt", "direction", "checksum", "done"})
_SHORT = 100
"""Characters of a text that is kept as SQL: the records of a fleet have the same names and checksums again and again."""
_SECONDS = "GREATEST(0, TIMESTAMPDIFF(MICROSECOND, `started_at`, UTC_TIMESTAMP(6))) / 1000000"
_FIRST = ("version", "attempt", "started_at")
"""What the first record of an attempt writes, and no other one changes."""


class Rows(NamedTuple):
    """What both tables hold; None: there is no such table."""

    versions: tuple[tuple[int, bool], ...] | None
    attempts: tuple[tuple[Any, ...], ...] | None
    columns: tuple[str, ...] = ()

    @property
    def mark(self) -> tuple[Any, ...]:
        """A value that changes when somebody else writes to one of the tables."""
        if self.attempts is None:
            return self.versions, None
        wanted = [
            self.columns.index(name) for name in ("version", "attempt", "applied", "done") if name in self.columns
        ]
        return self.versions, tuple(sorted(tuple(row[at] for at in wanted) for row in self.attempts))


class Records:
    """The two tables of one target."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.version_table = target.parameters.get("x-migrations-table") or DEFAULT
        # Each set of migrations in a database has its own history beside its version table.
        own = self.version_table != DEFAULT
        self.history = f"{target.history_name}_{self.version_table}" if own else target.history_name
        self.lock_table = f"{self.history}_lock"
        self.snapshot_table = f"{self.history}_snapshot"
        self._stored: tuple[str, ...] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of the bookkeeping."""
        return self.version_table, self.history, self.lock_table, self.snapshot_table

    # ------------------------------------------------------------ reading

    def select_versions(self) -> str:
        """Return SQL that reads golang-migrate's table."""
        return f"SELECT version, dirty FROM {quoted(self.version_table)}"

    def kind_of(self, table: str) -> str:
        """Return SQL for what has the name of a table, and its engine: `base table:InnoDB`, `view`; NULL if it is missing."""
        return (
            "(SELECT CONCAT_WS(':', LOWER(TABLE_TYPE), ENGINE) FROM information_schema.TABLES "
            f"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {text(table)})"
        )

    def select_history(self, *, whole: bool = False) -> str:
        """Return SQL that reads the history without the texts, which nobody needs every time.

        `whole`: whatever columns there are, for a history that another release made.
        """
        if whole:
            return f"SELECT * FROM {quoted(self.history)}"
        columns = ", ".join(f"`{name}`" for name in READ[:-1]) + ", texts IS NOT NULL AS texts"
        return f"SELECT {columns} FROM {quoted(self.history)} ORDER BY version, attempt"

    def select_texts(self, version: int | None) -> str:
        """Return SQL that reads the texts of a version, or of all, with version and attempt."""
        only = "" if version is None else f" AND version = {int(version)}"
        return f"SELECT version, attempt, texts FROM {quoted(self.history)} WHERE texts IS NOT NULL{only}"

    def keep_snapshot(self, snapshot: str) -> list[str]:
        """Return SQL that stores a schema snapshot in place of the one before."""
        table = quoted(self.snapshot_table)
        return [
            f"CREATE TABLE IF NOT EXISTS {table} (slot int NOT NULL PRIMARY KEY, snapshot longtext NOT NULL) "
            "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
            f"REPLACE INTO {table} VALUES (1, {text(snapshot)})",
        ]

    def attempts(self, rows: Rows) -> tuple[Attempt, ...]:
        """Return the history as records; ConflictError for what orch cannot have written."""
        if rows.attempts is None:
            return ()
        if not {*rows.columns} >= _OURS:
            raise foreign.other_history(self._target.database_id, self.history, rows.columns)
        found = [dict(zip(rows.columns, row, strict=True)) for row in rows.attempts]
        self._stored = tuple(dict.fromkeys(filter(None, (row.get("identity") for row in found))))
        try:
            return tuple(sorted((_attempt(row) for row in found), key=lambda one: (one.version, one.number)))
        except (KeyError, ValueError, TypeError):
            raise foreign.other_row(self._target.database_id, self.history) from None

    def version_rows(self, rows: Sequence[tuple[Any, ...]]) -> tuple[tuple[int, bool], ...]:
        """Return rows of golang-migrate's table; ConflictError for one that it cannot have written."""
        for row in rows:
            if not all(type(value) is int for value in row):
                raise foreign.odd_version(self._target.database_id, self.version_table, row)
        return tuple((version, bool(dirty)) for version, dirty in rows)

    def elsewhere(self, database: str) -> str:
        """Return a sentence of where the rows were written, '' if that is here."""
        here = Identity((), "", database)
        return told(written_elsewhere(self._stored, here), here)

    # ------------------------------------------------------------ writing

    def create_version_table(self) -> str:
        """Return SQL that makes golang-migrate's table as it does, and for certain in InnoDB."""
        return (
            f"CREATE TABLE IF NOT EXISTS {quoted(self.version_table)} "
            "(version bigint not null primary key, dirty boolean not null) ENGINE=InnoDB"
        )

    def create_history(self) -> str:
        """Return SQL that makes the history."""
        columns = ", ".join(f"`{name}` {kind}" for name, kind in COLUMNS.items())
        return (
            f"CREATE TABLE IF NOT EXISTS {quoted(self.history)} ({columns}, PRIMARY KEY (`version`, `attempt`)) "
            "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"  # others hold shorter rows
        )

    def complete_history(self, columns: Collection[str]) -> str:
        """Return SQL that adds what the history of an earlier release lacks; '' where that is nothing."""
        lacking = [f"ADD COLUMN `{name}` {kind}" for name, kind in COLUMNS.items() if name not in columns]
        return f"ALTER TABLE {quoted(self.history)} {', '.join(lacking)}" if lacking else ""

    def point(self, versions: Sequence[tuple[int, bool]], row: VersionRow) -> list[str]:
        """Return SQL that sets the version row in place of these; no version: an empty table."""
        table = quoted(self.version_table)
        text = [f"DELETE FROM {table} WHERE version = {int(version)}" for version, _ in versions]
        if row.version is not None:
            text.append(f"INSERT INTO {table} (version, dirty) VALUES ({int(row.version)}, {int(row.dirty)})")
        return text

    def values(self, attempt: Attempt, database: str, role: str, seen_before: str | None) -> dict[str, str]:
        """Return what each column of an attempt's row is to hold, as SQL.

        Times are the server's: an attempt starts with its first record, and ends with its last.
        """
        now = "UTC_TIMESTAMP(6)"
        finished = now if attempt.done else "NULL"
        return {
            "version": str(attempt.version),
            "attempt": str(attempt.number),
            "name": text(attempt.name),
            "direction": text(attempt.direction.value),
            "checksum": text(attempt.checksum),
            "applied": str(attempt.applied),
            "total": str(attempt.total),
            "in_flight": str(int(attempt.in_flight)),
            "prefix": text(attempt.prefix),
            "origin": text(attempt.origin.value),
            "started_at": now,
            "finished_at": finished,
            "seconds": "0" if attempt.done else "NULL",
            "actor": text(attempt.actor),
            "run_id": text(attempt.run_id),
            "tool": text(attempt.tool),
            "error": text(attempt.error),
            "reason": text(attempt.reason),
            "format": str(attempt.format),
            "identity": text(self._identity(attempt, database)),
            "role": text(role),
            "host": text(_host()),
            "seen_before": text(seen_before or ""),
            "texts": text(attempt.texts) if attempt.texts else "NULL",
            "done": str(int(attempt.done)),  # the last to be assigned: until then it says whether the row is finished
        }

    def record(self, values: Mapping[str, str], left: tuple[str, ...], before: Mapping[str, str] | None = None) -> str:
        """Return SQL that adds or updates an attempt. A row that is there keeps the columns `left`, or all if it is finished.

        `before`: what the row holds, as far as that is known. Then there is a row, and the server needs half as long.
        """
        done = values["done"] == "1"
        if before is None:
            return _upsert(tuple(values), left, done).format(quoted(self.history), *values.values())
        changed = {name: value for name, value in values.items() if value != before.get(name)}
        changed |= {"seconds": _SECONDS} if done else {}
        assigned = [f"`{name}` = {value}" for name, value in changed.items() if name not in (*_FIRST, *left)]
        key = f"`version` = {values['version']} AND `attempt` = {values['attempt']} AND NOT `done`"
        return f"UPDATE {quoted(self.history)} SET {', '.join(assigned) or '`done` = `done`'} WHERE {key}"

    def _identity(self, attempt: Attempt, database: str) -> str:
        if self._target.scratch:
            return ""
        if attempt.origin is not Origin.MOVED:
            return _identity_of(database)
        took_over = [document(one) for one in written_elsewhere(self._stored, Identity((), "", ""))]
        return json.dumps({**document(Identity((), "", database)), "took_over": took_over})


@cache
def _upsert(names: tuple[str, ...], left: tuple[str, ...], done: bool) -> str:
    """Return SQL that adds or updates a row, with holes for the table and for the values of these columns.

    A row that is there keeps the columns `left`, and all of them if it is finished.
    """
    values = {name: f"{{{at}}}" for at, name in enumerate(names, 1)}
    inserted = ", ".join(values.values())
    if done:
        values["seconds"] = _SECONDS
    kept = (*_FIRST, *left)
    updates = [f"`{name}` = IF(`done`, `{name}`, {value})" for name, value in values.items() if name not in kept]
    columns = ", ".join(f"`{name}`" for name in names)
    return f"INSERT INTO {{0}} ({columns}) VALUES ({inserted}) ON DUPLICATE KEY UPDATE {', '.join(updates)}"


@lru_cache(16)
def _identity_of(database: str) -> str:
    return json.dumps(document(Identity((), "", database)))


@cache
def _host() -> str:
    return os.uname().nodename


def _attempt(row: dict[str, Any]) -> Attempt:
    whole = {**dict.fromkeys(COLUMNS), **row}
    texts = ("name", "prefix", "actor", "role", "host", "run_id", "tool", "error", "reason")
    return read_attempt(
        {
            **whole,
            **{name: whole[name] or "" for name in texts},
            **{name: whole[name] or 0 for name in ("applied", "total")},
            "origin": whole["origin"] or "applied",
            "format": whole["format"] or 1,
            "in_flight": bool(whole["in_flight"]),
            "done": bool(row["done"]),
            "started_at": _time(whole["started_at"]),
            "finished_at": _time(whole["finished_at"]),
        }
    )


def _time(value: Any) -> datetime | None:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else None


def quoted(name: str) -> str:
    """Return a name as SQL."""
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """Return a text as SQL that no mode and no character set of the session changes."""
    return _short(value) if len(value) < _SHORT else _hex(value)


@lru_cache(256)
def _short(value: str) -> str:
    return _hex(value)


def _hex(value: str) -> str:
    return f"_utf8mb4 X'{value.encode(errors='replace').hex()}'"
