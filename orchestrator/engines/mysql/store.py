"""Both tables of one database, read and written over the connection of a session."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pymysql

from orchestrator.engines import foreign
from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.lock import lock_name
from orchestrator.engines.mysql.records import Records, Rows, quoted, text
from orchestrator.engines.mysql.writable import READ_ONLY, is_on, read_only
from orchestrator.errors import ConflictError, StatementError
from orchestrator.model import Attempt, History, Target, VersionRow

_SNAPSHOT_TRIES = 5
_CHANGED_MEANWHILE = 1412
_NO_TABLE = 1146
_NO_COLUMN = 1054
_FACTS = f"SELECT {READ_ONLY}, CONCAT_WS(':', @@hostname, @@port, @@datadir, DATABASE()), CURRENT_USER()"


class Store:
    """Reads the history, makes what is missing of it, and writes records inside of a transaction of the caller."""

    def __init__(self, connection: Any, target: Target, records: Records) -> None:
        self._connection = connection
        self._target = target
        self._records = records
        self._rows: Rows | None = None
        self._written: tuple[tuple[int, bool], ...] | None = None  # the version table, once the transaction commits
        self._ready = False  # both tables are there, whole, and in InnoDB
        self._role = ""

    def read(self) -> History:
        """Return what the database remembers, both tables as they were at one moment."""
        for _ in range(_SNAPSHOT_TRIES):
            try:
                return self._read()
            except pymysql.Error as error:
                if errors.code_of(error) != _CHANGED_MEANWHILE:  # somebody completes the history just now
                    raise
        return self._read()

    def _read(self) -> History:
        records = self._records
        tables = records.version_table, records.history
        facts = ", ".join((_FACTS, *map(records.not_a_table, tables)))
        ask(self._connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
        try:
            ((closed, place, role, *kinds),) = ask(self._connection, facts)
            for table, kind in zip(tables, kinds, strict=True):
                if kind is not None:
                    raise foreign.no_table(self._target.database_id, table, str(kind))
            versions = self._versions()
            attempts, columns = self._history()
        finally:
            with suppress(pymysql.Error, OSError):
                ask(self._connection, "ROLLBACK")
        self._role = str(role)
        pairs = None if versions is None else records.version_rows(versions)
        self._rows = Rows(pairs, attempts, columns)
        found = records.attempts(self._rows)
        rows = tuple(VersionRow(version, dirty=dirty) for version, dirty in pairs or ())
        # No transaction can create a table: a run that was killed at its very beginning leaves both tables empty, and
        # no others. Beside others they were emptied, unless a run is at work on its first file.
        empty = attempts is not None and not attempts and not pairs
        store = attempts is not None and not (empty and (not self._others() or self._at_work()))
        if empty:
            pairs = None
        return History(
            store=store,
            version_row=None if pairs is None else rows[0] if rows else VersionRow(None),
            attempts=found,
            unrecorded=0 if store or pairs is not None else self._others(),
            emptied=store and not found,
            rows=rows if len({*rows}) > 1 else (),
            read_only=read_only(self._target) if is_on(closed) else None,
            elsewhere=records.elsewhere(self._target.database),
            place=f"{place}:{records.version_table}" if store else "",
        )

    def get_ready(self) -> None:
        """Make what is missing of both tables; ConflictError if one could lose a record in a crash."""
        if self._ready:
            return
        if self._rows is None:
            self._read()
        rows = self._rows or Rows(None, None)
        if rows.versions is None:
            ask(self._connection, self._records.create_version_table())
            self._rows = rows._replace(versions=())
        if rows.attempts is None:
            ask(self._connection, self._records.create_history())
        elif lacking := self._records.complete_history(rows.columns):
            ask(self._connection, lacking)
        names = ", ".join(map(text, (self._records.version_table, self._records.history)))
        engines = (
            "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES "
            f"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ({names})"
        )
        for table, engine in ask(self._connection, engines):
            if engine != "InnoDB":
                raise ConflictError(
                    f"the table {table} of {self._target.database_id} has the engine {engine}, which has no transactions",
                    hint=f"ALTER TABLE {quoted(str(table))} ENGINE=InnoDB",
                )
        self._ready = True

    def check(self, is_ours: str, *, is_file: bool) -> None:
        """Look at the end of a transaction that the lock is ours, and that a file has left our records alone."""
        ((ours, database),) = ask(self._connection, f"SELECT {is_ours}, DATABASE()")
        if not ours:
            raise errors.lock_lost(self._target)
        if database is None or database.lower() != self._target.database.lower():
            raise StatementError("the file has changed to another database", hint="remove what does that")
        found = ask(self._connection, self._records.select_versions() + " FOR UPDATE")
        self._written = tuple((int(version), bool(dirty)) for version, dirty in found)
        known = self._rows.versions if self._rows else None
        if is_file and known is not None and {*self._written} != {*known}:
            raise StatementError(
                "the file changes the records of orch or of golang-migrate",
                hint=f"remove what it does to {self._records.version_table} and {self._records.history}",
            )

    def record(self, attempt: Attempt, seen_before: str | None) -> None:
        """Add or update an attempt."""
        ask(self._connection, self._records.record(attempt, self._target.database, self._role, seen_before))

    def point(self, version_row: VersionRow | None) -> None:
        """Set the version row; None: leave it as it is."""
        if version_row is None:
            return
        for query in self._records.point(self._written or (), version_row):
            ask(self._connection, query)
        self._written = () if version_row.version is None else ((version_row.version, version_row.dirty),)

    def finished(self) -> set[tuple[int, int]]:
        """Return the keys of the attempts that were over when the history was read: their rows do not change."""
        rows = self._rows or Rows(None, None)
        if not rows.attempts:
            return set()
        version, number, done = (rows.columns.index(name) for name in ("version", "attempt", "done"))
        return {(int(row[version]), int(row[number])) for row in rows.attempts if row[done]}

    def written(self) -> None:
        """Take what was written for what is there: the transaction has committed."""
        if self._rows is not None and self._written is not None:
            self._rows = self._rows._replace(versions=self._written)

    def fingerprint_of(self, attempt: Attempt) -> dict[str, str] | None:
        """Return what was recorded with the intent that an attempt goes on from; None if that cannot be read."""
        rows = ask(
            self._connection,
            f"SELECT seen_before FROM {quoted(self._records.history)} WHERE version = {attempt.version} "
            f"AND direction = {text(attempt.direction.value)} AND in_flight AND seen_before <> '' "
            "ORDER BY attempt DESC LIMIT 1",
        )
        try:
            found = json.loads(rows[0][0]) if rows and rows[0][0] else None
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def _select(self, query: str) -> tuple[tuple[tuple[Any, ...], ...] | None, tuple[str, ...]]:
        """Return rows and columns of one of our tables, None if there is no such table."""
        try:
            rows = ask(self._connection, query)
        except pymysql.Error as error:
            if errors.code_of(error) == _NO_TABLE:
                return None, ()
            raise
        return rows, tuple(column[0] for column in self._connection._result.description)

    def _versions(self) -> tuple[tuple[Any, ...], ...] | None:
        try:
            return self._select(self._records.select_versions())[0]
        except pymysql.Error as error:
            if errors.code_of(error) != _NO_COLUMN:
                raise
        table = self._records.version_table
        columns = [str(row[0]) for row in ask(self._connection, f"SHOW COLUMNS FROM {quoted(table)}")]
        raise foreign.other_version_table(self._target.database_id, table, columns)

    def _history(self) -> tuple[tuple[tuple[Any, ...], ...] | None, tuple[str, ...]]:
        try:
            return self._select(self._records.select_history())
        except pymysql.Error as error:
            if errors.code_of(error) != _NO_COLUMN:
                raise
        return self._select(self._records.select_history(whole=True))

    def texts(self, version: int | None) -> dict[tuple[int, int], str]:
        """Return the texts that the history keeps, by version and attempt."""
        try:
            rows, _ = self._select(self._records.select_texts(version))
        except pymysql.Error as error:
            if errors.code_of(error) != _NO_COLUMN:
                raise
            return {}
        return {(int(one), int(attempt)): str(kept) for one, attempt, kept in rows or ()}

    def snapshot(self) -> str:
        """Return the schema snapshot that is kept beside the history; '' if there is none."""
        rows, _ = self._select(f"SELECT snapshot FROM {quoted(self._records.snapshot_table)}")
        return str(rows[0][0]) if rows else ""

    def keep_snapshot(self, snapshot: str) -> None:
        """Store a schema snapshot beside the history."""
        for query in self._records.keep_snapshot(snapshot):
            ask(self._connection, query)

    def _at_work(self) -> bool:
        """Whether another session holds the migration lock."""
        name = text(lock_name(self._target.database, self._records.version_table))
        ((holder, own),) = ask(self._connection, f"SELECT IS_USED_LOCK({name}), CONNECTION_ID()")
        return holder not in (None, own)

    def _others(self) -> int:
        query = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
        ours = ", ".join(map(text, self._records.tables))
        ((count,),) = ask(self._connection, f"{query} AND TABLE_NAME NOT IN ({ours})")
        return int(count)
