"""One database's session: reading its history, its lock, its transactions, all over one connection."""

from __future__ import annotations

import json
import re
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus
from psycopg.rows import dict_row
from psycopg.types.string import TextLoader

from orchestrator.engines import postgres_errors as errors
from orchestrator.engines.base import Effect, Limits
from orchestrator.engines.postgres_history import (
    COLUMNS,
    SET_BY_DSN,
    complete_history,
    create_history,
    create_pointer,
    identifier,
    point,
    record,
)
from orchestrator.engines.postgres_message import RESET, RESET_SESSION, Message, set_limits
from orchestrator.errors import ConflictError, ConnectError, ConnectionLostError, LockError
from orchestrator.model import History, LockHolder, Picture, Pointer, Revision, Statement, Target, read_revision

CONNECT_TIMEOUT = 10  # seconds, unless the DSN says otherwise
TRY_LOCK_EVERY = 0.25  # seconds
POOLER_TRIES = 3
_EXTENSIONS = "pg_catalog.pg_extension"
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL DateStyle = ISO"
_BACKEND = "SELECT pg_catalog.pg_backend_pid()"
_LOCK_SALT = 1486364155  # golang-migrate's, read from its source (database/util.go)


class PostgresSession:
    """One connection; everything that it sends is autocommit, or one message with its own BEGIN and COMMIT."""

    def __init__(self, connection: psycopg.Connection[Any], target: Target, *, pristine: bool = False) -> None:
        self.connection = connection
        self.target = target
        self._pristine = pristine  # no history can be in another schema
        self.kept = False
        self._schema: str | None = None
        self._server_pid = 0
        self._held = "true"
        self._used = False  # by a file that is done
        self._looked = False
        self._has_pointer = False
        self._has_history = False
        self._moved = False  # the history is not in the current schema
        self._columns: Collection[str] = ()  # of the history; none: not seen yet

    def read_history(self, extensions: Sequence[str] = ()) -> History:
        """Read history and pointer in one snapshot. Rows are read as JSON, so columns may come and go."""
        if not self._looked:
            self._look()
        self._looked = False
        pointer_part = f"(SELECT json_agg(p) FROM {self._pointer} p)" if self._has_pointer else "NULL"
        history_part = f"(SELECT json_agg(h) FROM {self._history} h)" if self._has_history else "NULL"
        extension_part = "(SELECT array_agg(extname::text) FROM pg_catalog.pg_extension)" if extensions else "NULL"
        rows: Any = None
        if self._has_pointer or self._has_history or extensions:
            rows = self._one(f"SELECT {pointer_part}::text, {history_part}::text, {extension_part}")
        pointers, revisions, installed = rows or (None, None, None)
        pointer = None
        if self._has_pointer:
            row: dict[str, Any] = json.loads(pointers)[0] if pointers else {"version": None, "dirty": False}
            pointer = Pointer(row["version"], row["dirty"])
        records: list[dict[str, Any]] = json.loads(revisions or "[]")
        self._columns = records[0].keys() if records else ()
        return History(
            exists=True,
            store=self._has_history,
            pointer=pointer,
            revisions=tuple(map(read_revision, records)),
            extensions=tuple(name for name in extensions if name in (installed or ())),
        )

    @contextmanager
    def lock(self, wait: float, on_wait: Callable[[LockHolder], None]) -> Iterator[None]:
        """Take golang-migrate's advisory lock, by trying: a waiter inside a statement would hold a snapshot open."""
        if self._schema is None:
            self._look()
        self._refuse_pooler()
        deadline = time.monotonic() + wait
        key = self._try_lock(deadline, wait, on_wait)
        while not (self._has_pointer and self._has_history):
            self._look(elsewhere=self._moved)  # whoever held the lock may have created the tables since
            if self._lock_key() == key:
                break
            self._unlock(key)
            key = self._try_lock(deadline, wait, on_wait)
        self._looked = True
        # Held twice: that one can be given back and taken again tells, with no gap, that nobody gave both away.
        self._held = f"pg_catalog.pg_advisory_unlock({key}) AND pg_catalog.pg_try_advisory_lock({key})"
        try:
            yield
        finally:
            self._held = "true"
            with suppress(psycopg.Error):  # closing the connection gives it away too
                self._unlock(key)

    def holder(self) -> LockHolder | None:
        """Return who holds the advisory lock."""
        self._look()
        return self._holder(self._lock_key())

    def unlock(self, holder: LockHolder) -> None:
        """Refuse: an advisory lock goes with its session, so there is never a dead one."""
        raise LockError(
            f"the lock of {self.target.database_id} belongs to a session that lives: {holder.description}",
            hint="end that session if you know what it does: SELECT pg_terminate_backend(<backend>);",
        )

    def keep(self) -> None:
        """Let the next session on this database have the connection."""
        self.kept = True

    def prepare(self, extensions: Sequence[str]) -> None:
        """CREATE EXTENSION for each."""
        for name in extensions:
            with errors.mapped(self.connection, self.target):
                self.connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))

    def commits(self, statement: Statement) -> bool:
        """Whether the statement may stand in a transaction block."""
        return statement.atomic

    def commit(
        self, statements: Sequence[Statement], revisions: Sequence[Revision], pointer: Pointer | None, limits: Limits
    ) -> None:
        """Send BEGIN, the statements, the records and COMMIT as one simple-query message: one round trip."""
        if self._schema is None:
            self._look()
        # What the file before may have left goes first, and is committed first: what fails there has done nothing.
        clean = f"BEGIN; {RESET_SESSION}; COMMIT; " if self._used and statements else ""
        message = Message(f"{clean}BEGIN; {set_limits('SET LOCAL', limits)}")
        for statement in statements:
            message.text += statement.settings
            message.add(statement)
        message.text += f"{RESET}; " if statements else ""
        message.add_check(self._held)
        message.text += self._store() + "".join(
            record(self.connection, self._history, revision) for revision in revisions
        )
        message.text += "COMMIT" if pointer is None else f"{point(self._pointer, pointer)}COMMIT"
        self._send(message)
        if clean:
            self._used = False
        if revisions and all(revision.done for revision in revisions):
            self._used = True
        self._has_pointer = self._has_history = True
        self._columns = COLUMNS

    def execute(self, statement: Statement, limits: Limits) -> None:
        """Run one statement alone, outside of any transaction block."""
        self._clean()
        if settings := set_limits("SET", limits) + statement.settings:
            self._send(Message(settings))
        from orchestrator.engines.postgres_probe import resumed  # only files that are not one transaction come here

        with errors.mapped(self.connection, self.target) as failing:
            failing.at = statement, None
            body = resumed(self.connection, statement)
        message = Message("")
        message.add(statement, terminator="", body=body)
        try:
            self._send(message)  # alone: a second statement in the message would make it a transaction block
        finally:
            with suppress(ConnectionLostError):  # whoever writes next finds that out
                self._send(Message(RESET))

    def probe(self, statement: Statement, limits: Limits) -> tuple[Effect, str]:
        """Look in the catalogue what became of the statement."""
        from orchestrator.engines.postgres_probe import probe

        self._clean()
        # Its names are looked up as it did, and debris is not waited for longer than it would have waited itself.
        if settings := set_limits("SET", limits) + statement.settings:
            self._send(Message(settings))
        try:
            with errors.mapped(self.connection, self.target) as failing:
                failing.at = statement, None
                return probe(self.connection, statement)
        finally:
            with suppress(ConnectionLostError):  # whoever writes next finds that out
                self._send(Message(RESET))

    def picture(self) -> Picture:
        """Read the catalogue."""
        from orchestrator.engines.postgres_picture import picture

        self._look()
        with errors.mapped(self.connection, self.target):
            return picture(self.connection, (self._pointer, self._history))

    def cancel(self) -> None:
        """Cancel on the server, over a connection of its own."""
        with suppress(psycopg.Error):
            self.connection.cancel_safe(timeout=5)

    # ------------------------------------------------------------ what stands behind the verbs

    def _send(self, message: Message) -> None:
        """Send one simple-query message. The number of results before the error tells which statement failed."""
        pgconn = self.connection.pgconn
        with errors.mapped(self.connection, self.target) as failing:
            with self.connection.lock:
                pgconn.send_query(message.text.encode())
                results = self.connection.wait(execute(pgconn))
            last = results[-1]
            if last.status == ExecStatus.FATAL_ERROR:
                error = error_from_result(last, encoding="utf-8")
                failing.at = message.place(results[:-1], error.diag.statement_position)
                failing.role = message.role(failing.at[0]) if failing.at else None
                raise error
            if last.status in (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH):
                failing.at = message.place(results[:-1], None)
                pgconn.finish()  # the protocol has no other way out
                raise psycopg.DataError("COPY from or to the client cannot be used in a migration")

    def _clean(self) -> None:
        """Remove from the session what the file before has left."""
        if self._used:
            self._send(Message(RESET_SESSION))
            self._used = False

    def _snapshot(self, tables: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Read tables as they were at one moment, in one round trip; times as ISO texts."""
        if not tables:
            return {}
        cursor = self.connection.cursor(row_factory=dict_row)
        cursor.adapters.register_loader("timestamptz", TextLoader)
        queries = "".join(f"SELECT * FROM {table}; " for table in tables)
        with errors.mapped(self.connection, self.target) as failing:
            failing.reads = True
            cursor.execute(f"{_SNAPSHOT}; {queries}COMMIT".encode())
            found = []
            while cursor.nextset():
                if cursor.description:
                    found.append(cursor.fetchall())
        return dict(zip(tables, found, strict=True))

    def _one(self, query: str) -> Any:
        with errors.mapped(self.connection, self.target) as failing:
            failing.reads = True
            return self.connection.execute(query.encode()).fetchone()

    def _try_lock(self, deadline: float, wait: float, on_wait: Callable[[LockHolder], None]) -> int:
        """Take the lock, twice, and return its key."""
        key = self._lock_key()
        take = f"pg_catalog.pg_try_advisory_lock({key})"
        while not self._one(f"SELECT {take} AND {take}")[0]:
            holder = self._holder(key) or LockHolder("somebody who has just let go")
            if time.monotonic() >= deadline:
                raise LockError(
                    f"{self.target.database_id} is locked by {holder.description}",
                    detail=f"waited {wait:g} s",
                    hint="wait for it, or raise --lock-timeout",
                )
            on_wait(holder)
            time.sleep(TRY_LOCK_EVERY)
        return key

    def _unlock(self, key: int) -> None:
        self.connection.execute(f"SELECT pg_catalog.pg_advisory_unlock({key}), pg_catalog.pg_advisory_unlock({key})")

    def _look(self, *, elsewhere: bool = True) -> None:
        """Learn where history and pointer are, or are to be: in the current schema, unless a migration moved that away."""
        self._look_in("pg_catalog.current_schema()::text")
        elsewhere = elsewhere and not self._has_history and not self._set_by_dsn and not self._pristine
        if elsewhere and (schema := self._home()):
            self._look_in(self._literal(schema))
            self._moved = True
        if self._pointer_is_qualified:
            query = f"SELECT pg_catalog.to_regclass({self._literal(self._pointer)}) IS NOT NULL"
            self._has_pointer = self._one(query)[0]

    def _look_in(self, schema: str) -> None:
        """Look for the two tables in a schema."""
        pointer, history = self._literal(self._pointer_ident), self._literal(self._history_ident)
        row = self._one(
            "SELECT pg_catalog.pg_backend_pid(), s, pg_catalog.quote_ident(s), "
            f"pg_catalog.to_regclass(pg_catalog.quote_ident(s) || '.' || {pointer}) IS NOT NULL, "
            f"pg_catalog.to_regclass(pg_catalog.quote_ident(s) || '.' || {history}) IS NOT NULL "
            f"FROM (SELECT {schema} AS s) AS schema"
        )
        if row[1] is None:
            raise ConnectError(
                f"{self.target.database_id} has no current schema",
                detail="the search_path names no schema that exists and that this login may use",
                hint="GRANT USAGE ON SCHEMA public TO its user; CREATE SCHEMA public; or set search_path in the DSN "
                "(options=-csearch_path=...)",
            )
        self._server_pid, self._schema, quoted, self._has_pointer, self._has_history = row
        self._pointer = self._pointer_ident if self._pointer_is_qualified else f"{quoted}.{self._pointer_ident}"
        self._history = f"{quoted}.{self._history_ident}"

    def _home(self) -> str | None:
        """Return the other schema where the history is, or else the pointer, where the current one has none."""
        pointer, history = self._literal(self._pointer_name), self._literal(self.target.history_name)
        on_path = "nspname = ANY(pg_catalog.current_schemas(false))"
        ours = "pg_catalog.pg_get_userbyid(relowner) = current_user"
        with errors.mapped(self.connection, self.target) as failing:
            failing.reads = True
            elsewhere = self.connection.execute(
                f"SELECT relname = {history}, nspname, {ours} AND {on_path} FROM pg_catalog.pg_class c "
                "JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace "
                f"WHERE relname IN ({history}, {pointer}) AND relkind IN ('r', 'p') "
                f"AND nspname <> {self._literal(self._schema or '')} AND nspname !~ '^pg_' "
                f"AND CASE WHEN relname = {history} THEN ({ours} OR {on_path}) "
                f"AND pg_catalog.obj_description(c.oid, 'pg_class') IS DISTINCT FROM '{SET_BY_DSN}' "
                f"ELSE {on_path} "
                "AND EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attname = 'dirty') END".encode()
            ).fetchall()
        found = [table for table in elsewhere if table[0]]
        if not found and not self._has_pointer and not self._pointer_is_qualified:
            found = elsewhere
        if not found:
            return None
        if len(found) == 1 and found[0][2]:
            return str(found[0][1])
        raise ConflictError(
            f"{self.target.database_id} has no history in schema {self._schema}, which is the current one now, "
            f"and one in {', '.join(sorted(schema for _, schema, _ in found))}",
            detail="CREATE SCHEMA with the name of the login, and ALTER DATABASE or ROLE … SET search_path, change that schema",
            hint="say in the DSN which it is: options=-csearch_path%3D<schema> (a new one there begins at nothing)",
        )

    @property
    def _set_by_dsn(self) -> bool:
        return "search_path" in self.connection.info.options.replace("-", "_")

    def _literal(self, value: str) -> str:
        return sql.Literal(value).as_string(self.connection)

    @property
    def _pointer_name(self) -> str:
        return self.target.parameters.get("x-migrations-table") or "schema_migrations"

    @property
    def _pointer_is_qualified(self) -> bool:
        return self.target.parameters.get("x-migrations-table-quoted", "").lower() in ("1", "t", "true")

    @property
    def _pointer_ident(self) -> str:
        return self._pointer_name if self._pointer_is_qualified else identifier(self._pointer_name)

    @property
    def _history_ident(self) -> str:
        return identifier(self.target.history_name)

    def _lock_key(self) -> int:
        schema, table = self._schema or "", self._pointer_name
        if self._pointer_is_qualified:  # golang-migrate splits "schema"."table" for the lock too
            parts = re.findall(r'"(.*?)"', table)
            schema, table = (parts[0], parts[1]) if len(parts) == 2 else (schema, parts[0] if parts else table)
        name = f"{schema}\0{table}\0/{self.target.database}".encode()
        return (zlib.crc32(name) * _LOCK_SALT) % 2**32

    def _holder(self, key: int) -> LockHolder | None:
        row = self._one(
            "SELECT a.pid, a.application_name, coalesce(a.client_addr::text, 'local'), a.backend_start, a.state "
            "FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid) "
            f"WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = {key} "
            "AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
        )
        if row is None:
            return None
        pid, application, address, since, state = row
        who = application or "golang-migrate or another client"
        return LockHolder(f"{who} (backend {pid} from {address}, {state or 'unknown'}, since {since:%H:%M:%S})", since)

    def _refuse_pooler(self) -> None:
        """A session lock means nothing behind a pooler that hands the server session to others between transactions."""
        if self._server_pid == self.connection.info.backend_pid:
            return
        # A pooler in transaction mode lends the session that served us last to the next who opens a transaction, or
        # another one to us. A busy one may do so by chance only: ask several times.
        for _ in range(POOLER_TRIES):
            with suppress(psycopg.Error), self._borrowed() as theirs:
                if theirs != self._server_pid and self._one(_BACKEND)[0] == self._server_pid:
                    continue
            raise LockError(
                f"{self.target.database_id} is behind a pooler in transaction mode, where a lock protects nothing",
                hint="give orch a DSN that goes to the server itself, or to a pool in session mode",
            )

    @contextmanager
    def _borrowed(self) -> Iterator[int]:
        """Open a transaction on a second connection, and tell which server session serves it."""
        with psycopg.connect(self.target.url, autocommit=True, connect_timeout=CONNECT_TIMEOUT) as other:
            # A pool that has no session left lets us wait: that tells as little as an error would.
            timer = threading.Timer(CONNECT_TIMEOUT, other.cancel_safe)
            timer.start()
            try:
                with other.transaction():
                    row = other.execute(_BACKEND).fetchone()
                    yield row[0] if row else 0
            finally:
                timer.cancel()

    def _read_columns(self) -> list[str]:
        row = self._one(
            "SELECT ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute WHERE NOT attisdropped AND attnum > 0 "
            f"AND attrelid = pg_catalog.to_regclass({self._literal(self._history)}))"
        )
        return list(row[0])

    def _store(self) -> str:
        pointer = "" if self._has_pointer else create_pointer(self._pointer)
        if self._has_history:
            return pointer + complete_history(self._history, self._columns or self._read_columns())
        return pointer + create_history(self._history, set_by_dsn=self._set_by_dsn)
