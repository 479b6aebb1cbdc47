"""Both tables of one database, read and written over the connection of a session."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pymysql

from orchestrator.engines import foreign
from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import Answer, ask, ask_all
from orchestrator.engines.mysql.lock import lock_name
from orchestrator.engines.mysql.records import READ, Records, Rows, quoted, text
from orchestrator.engines.mysql.writable import READ_ONLY, is_on, read_only
from orchestrator.errors import ConflictError, ConnectError, StatementError
from orchestrator.model import Attempt, History, Target, VersionRow

# In READ COMMITTED each query would see another moment. In SERIALIZABLE a query would wait for a session that writes.
_SNAPSHOT = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT")
_SNAPSHOT_TRIES = 5
_CHANGED_MEANWHILE = 1412
_NO_TABLE = 1146
_NO_COLUMN = 1054
_TABLES = ("base table", "system versioned")
# Pods of two clusters can have the same name, port and data directory. The number at the end holds the server's id and the
# second in which it started.
_SERVER = "CONCAT_WS(':', @@hostname, @@port, @@datadir, UUID_SHORT() >> 24)"
_FACTS = f"SELECT {READ_ONLY}, {_SERVER}, DATABASE(), CURRENT_USER()"

Written = Sequence[tuple[Attempt, str | None]]
"""Attempts, each with the fingerprint that is recorded with it; None leaves the one that is there."""
Kept = dict[tuple[int, int], dict[str, str]]


class Store:
    """Reads the history, makes what is missing of it, and writes records inside of a transaction of the caller."""

    def __init__(self, connection: Any, target: Target, records: Records) -> None:
        self._connection = connection
        self._target = target
        self._records = records
        self._rows: Rows | None = None
        self._is_ours = "1"
        self._ready = False  # both tables are there, whole, and in InnoDB
        self._engines: dict[str, str] = {}  # of our tables that are there
        self._last: Kept = {}  # what the last records of this session hold, by their keys
        self._next: Kept = {}  # the same of those that are not committed yet
        self._role = ""
        self.place = ""
        """`History.place` of the tables that are there or are to be; '' before the first look."""

    def read(self, is_ours: str = "1") -> History:
        """Return what the database remembers, both tables as they were at one moment. LockError unless `is_ours` holds, SQL."""
        self._is_ours = is_ours
        for _ in range(_SNAPSHOT_TRIES):
            try:
                history = self._read()
                # `emptied` may be wrong: the run that was at work can have ended after the rows were read and before it was
                # looked for. Then its rows are there now.
                return self._read() if history.emptied else history
            except pymysql.Error as error:
                if errors.code_of(error) != _CHANGED_MEANWHILE:  # somebody completes the history just now
                    raise
        return self._read()

    def _read(self) -> History:
        records = self._records
        tables = records.version_table, records.history
        facts = ", ".join((_FACTS, self._is_ours, *map(records.kind_of, tables)))
        told: list[Answer] = []
        queries = [facts, *_SNAPSHOT, records.select_versions(), records.select_history(), "ROLLBACK"]
        if self._connection.is_new:  # most likely there are no tables at all
            queries = [facts, self._count_others()]
        failed: pymysql.Error | None = None
        try:
            ask_all(self._connection, queries, told)
        except pymysql.Error as error:
            if not told or not self._connection.open:
                raise
            failed = error
        ((closed, server, database, role, ours, *kinds),) = told[0]
        self._refuse_another(database)
        if not ours:
            self._roll_back()
            raise errors.lock_lost(self._target)
        for table, kind in zip(tables, kinds, strict=True):
            if kind is not None and str(kind).partition(":")[0] not in _TABLES:
                self._roll_back()
                raise foreign.no_table(self._target.database_id, table, str(kind).partition(":")[0])
        self._engines = _engines(tables, kinds)
        versions: Answer | None
        attempts: Answer | None
        columns: tuple[str, ...]
        others: int | None = None
        if self._connection.is_new and kinds == [None, None]:
            versions, attempts, columns = None, None, ()
            others = int(told[1][0][0])
        elif not failed and not self._connection.is_new:
            versions, attempts, columns = told[-3], told[-2], READ
        elif failed and errors.code_of(failed) == _NO_TABLE and kinds == [None, None]:
            versions, attempts, columns = None, None, ()
            others = int(ask_all(self._connection, ["ROLLBACK", self._count_others()])[1][0][0])
        else:
            versions, attempts, columns = self._read_slowly()
        self._role, self.place = str(role), f"{server}:{database}:{records.version_table}"
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
            unrecorded=0 if store or pairs is not None else self._others() if others is None else others,
            emptied=store and not found,
            rows=rows if len({*rows}) > 1 else (),
            read_only=read_only(self._target) if is_on(closed) else None,
            elsewhere=records.elsewhere(self._target.database),
            place=self.place if store else "",
        )

    def _read_slowly(self) -> tuple[Answer | None, Answer | None, tuple[str, ...]]:
        """Return the rows of both tables and the columns of the history, if one is missing or is not as orch creates it."""
        self._roll_back()
        ask_all(self._connection, _SNAPSHOT)
        try:
            versions = self._versions()
            return versions, *self._history()
        finally:
            self._roll_back()

    def _refuse_another(self, database: Any) -> None:
        """Raise ConnectError if the session is not in the database of the DSN: init_connect of the server can do that."""
        if database is None or str(database).lower() != self._target.database.lower():
            self._roll_back()
            raise ConnectError(
                f"{self._target.endpoint} puts this session into the database '{database}', not into '{self._target.database}'",
                hint="look for a USE in the init_connect of the server",
            )

    def _roll_back(self) -> None:
        with suppress(pymysql.Error, OSError):
            ask(self._connection, "ROLLBACK")

    def get_ready(self) -> None:
        """Create what is missing of both tables; ConflictError if one could lose a record in a crash."""
        if self._ready:
            return
        missing = self._missing()
        tables = self._records.version_table, self._records.history
        if missing or len(self._engines) < len(tables):
            kinds = "SELECT " + ", ".join(map(self._records.kind_of, tables))
            (found,) = ask_all(self._connection, [*missing, kinds])[-1]
            self._engines = _engines(tables, found)
        for table, engine in self._engines.items():
            if engine != "InnoDB":
                raise ConflictError(
                    f"the table {table} of {self._target.database_id} has the engine {engine}, which has no transactions",
                    hint=f"ALTER TABLE {quoted(table)} ENGINE=InnoDB",
                )
        self.note_ready()

    def _missing(self) -> list[str]:
        if self._rows is None:
            self._read()
        rows = self._rows or Rows(None, None)
        missing = []
        if rows.versions is None:
            missing.append(self._records.create_version_table())
        if rows.attempts is None:
            missing.append(self._records.create_history())
        elif lacking := self._records.complete_history(rows.columns):
            missing.append(lacking)
        return missing

    def creating(self) -> list[str]:
        """Return SQL that creates what is missing, and stops the message if a table could lose a record in a crash."""
        if self._ready:
            return []
        tables = self._records.version_table, self._records.history
        safe = [f"{self._records.kind_of(table)} LIKE '%:InnoDB'" for table in tables]
        return [*self._missing(), errors.stop_unless(safe)]

    def note_ready(self) -> None:
        """Take note that both tables are there and safe."""
        self._ready, self._connection.is_new = True, False
        rows = self._rows or Rows(None, None)
        self._rows = rows._replace(versions=rows.versions or ())

    def check(self, is_ours: str, *, is_file: bool) -> None:
        """Look at the end of a transaction that the lock is ours, and that a file has left our records alone."""
        ((ours, database),) = ask(self._connection, f"SELECT {is_ours}, DATABASE()")
        if not ours:
            raise errors.lock_lost(self._target)
        if database is None or database.lower() != self._target.database.lower():
            raise StatementError("the file has changed to another database", hint="remove what does that")
        rows = ask(self._connection, self._records.select_versions() + " FOR UPDATE")
        found = tuple((int(version), bool(dirty)) for version, dirty in rows)
        if is_file and self.known is not None and {*found} != {*self.known}:
            raise StatementError(
                "the file changes the records of orch or of golang-migrate",
                hint=f"remove what it does to {self._records.version_table} and {self._records.history}",
            )
        self._rows = (self._rows or Rows(None, None))._replace(versions=found)

    @property
    def known(self) -> tuple[tuple[int, bool], ...] | None:
        """The version table as this session last read or wrote it; None if it has read nothing."""
        return self._rows.versions if self._rows else None

    def are_known(self) -> list[str]:
        """Return SQL conditions that hold if the version table is as this session knows it. They lock its rows."""
        return self.are_versions(self.known or (), " FOR UPDATE")

    def are_versions(self, rows: Sequence[tuple[int, bool]], more: str = "") -> list[str]:
        """Return SQL conditions that hold if the version table has these rows, and no others."""
        count = f"(SELECT COUNT(*) FROM {quoted(self._records.version_table)}"
        same = " OR ".join(f"version = {int(version)} AND (dirty <> 0) = {int(dirty)}" for version, dirty in rows)
        conditions = [f"{count}{more}) = {len(rows)}"]
        return [*conditions, f"{count} WHERE {same}{more}) = {len(rows)}"] if rows else conditions

    def record(self, written: Written, *, again: bool = False) -> list[str]:
        """Return SQL that adds or updates attempts.

        `again`: only what has changed, in rows that the last records of this session are about. The caller checks the rows.
        """
        queries, self._next = [], {}
        for attempt, seen_before in written:
            values = self._records.values(attempt, self._target.database, self._role, seen_before)
            left = (*(("seen_before",) if seen_before is None else ()), *(() if attempt.texts else ("texts",)))
            before = self._last.get(attempt[:2]) if again else None
            queries.append(self._records.record(values, left, before))
            # What a row that is there keeps is not known.
            self._next[attempt[:2]] = {**(before or {}), **{name: values[name] for name in values.keys() - {*left}}}
        return queries

    def point(self, version_row: VersionRow | None) -> list[str]:
        """Return SQL that sets the version row; None: leave it as it is."""
        if version_row is None or (self.known or ()) == rows_of(version_row):
            return []
        return self._records.point(self.known or (), version_row)

    def finished(self) -> set[tuple[int, int]]:
        """Return the keys of the attempts that were over when the history was read: their rows do not change."""
        rows = self._rows or Rows(None, None)
        if not rows.attempts:
            return set()
        version, number, done = (rows.columns.index(name) for name in ("version", "attempt", "done"))
        return {(int(row[version]), int(row[number])) for row in rows.attempts if row[done]}

    def note_committed(self, version_row: VersionRow | None) -> None:
        """Take note that the records are committed, and the version row is what it was set to."""
        self._last, self._next = self._next, {}
        if self._rows is not None and version_row is not None:
            self._rows = self._rows._replace(versions=rows_of(version_row))

    def fingerprint_of(self, attempt: Attempt) -> dict[str, str] | None:
        """Return what was recorded with the intent that an attempt goes on from; None if that cannot be read."""
        rows = ask(
            self._connection,
            f"SELECT seen_before FROM {quoted(self._records.history)} WHERE version = {attempt.version} "
            f"AND direction = {text(attempt.direction.value)} AND in_flight AND seen_before <> {text('')} "
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
        return rows, tuple(column[0] for column in self._connection.result.description)

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
        return int(ask(self._connection, self._count_others())[0][0])

    def _count_others(self) -> str:
        query = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
        return f"{query} AND TABLE_NAME NOT IN ({', '.join(map(text, self._records.tables))})"


def rows_of(row: VersionRow) -> tuple[tuple[int, bool], ...]:
    """Return what the version table holds after it was set to this."""
    return () if row.version is None else ((row.version, row.dirty),)


def _engines(tables: Sequence[str], kinds: Sequence[Any]) -> dict[str, str]:
    """Return the engines of those tables that are there, by what `Records.kind_of` told of each."""
    told = zip(tables, kinds, strict=True)
    return {table: str(kind).partition(":")[2] for table, kind in told if kind is not None}
