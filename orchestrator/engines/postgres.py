"""PostgreSQL through psycopg 3: one session a database, one message a transaction."""

from __future__ import annotations

import json
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from orchestrator.engines import postgres_errors as errors
from orchestrator.engines.base import Copies, Effect, Limits
from orchestrator.engines.postgres_probe import probe
from orchestrator.errors import (
    ConnectError,
    ConnectionLostError,
    DatabaseMissingError,
    LockError,
    OrchError,
)
from orchestrator.model import (
    CreateOptions,
    Direction,
    File,
    History,
    LockHolder,
    Origin,
    Pointer,
    Revision,
    Script,
    Statement,
    Target,
)

CONNECT_TIMEOUT = 10  # seconds, unless the DSN says otherwise
TRY_LOCK_EVERY = 0.25  # seconds
KEEP_SECONDS = 10.0  # how long a connection may wait for its next use
POOLER_TRIES = 3
_BACKEND = "SELECT pg_catalog.pg_backend_pid()"
_LOCK_SALT = 1486364155  # golang-migrate's, read from its source (database/util.go)

# Everything that a file may have set in its session goes back to what the connection began with. (DISCARD ALL would
# also give the advisory lock away.)
_RESET = "RESET SESSION AUTHORIZATION; RESET ALL"
_RESET_SESSION = f"{_RESET}; DISCARD TEMP; DEALLOCATE ALL; UNLISTEN *; CLOSE ALL"

_HISTORY_COLUMNS = """(
    version bigint NOT NULL, attempt integer NOT NULL, name text NOT NULL, direction text NOT NULL,
    checksum text NOT NULL, applied integer NOT NULL, total integer NOT NULL, in_flight boolean NOT NULL,
    prefix text NOT NULL, done boolean NOT NULL, origin text NOT NULL,
    started_at timestamptz NOT NULL, finished_at timestamptz, seconds double precision,
    actor text NOT NULL, run_id text NOT NULL, tool text NOT NULL, error text NOT NULL, reason text NOT NULL,
    format integer NOT NULL, PRIMARY KEY (version, attempt))"""


class Postgres:
    """The engine for PostgreSQL 13 and later."""

    name = "postgres"

    def __init__(self, actor: str, run_id: str) -> None:
        self._application = f"orch/{run_id} {actor}"[:63]
        self._mutex = threading.Lock()
        self._known: dict[str, frozenset[str] | None] = {}
        self._idle: dict[str, list[psycopg.Connection[Any]]] = {}
        self._kept: dict[str, tuple[str, psycopg.Connection[Any]]] = {}
        self._room: dict[str, int] = {}

    def parse(self, file: File, text: str) -> Script:
        """Return the statements of an SQL file."""
        from orchestrator.engines.sql import parse_sql  # when nothing is to do, no file is parsed

        return parse_sql(file, text)

    @contextmanager
    def connect(self, target: Target) -> Iterator[PostgresSession]:
        """Open a session on the database."""
        known = self._known.get(target.server_key)
        if known is not None and target.database not in known:
            raise _missing(target)  # one answer of the server serves for all its databases
        with self._mutex:
            connection = self._kept.pop(target.url, (None, None))[1]
        if connection is None:
            try:
                connection = self._open(target.url, target)
            except ConnectError as error:
                if error.transient or (lacking := self._lacks(target)) is None:
                    raise
                if lacking:
                    raise _missing(target) from None
                # It is there, perhaps only since a moment ago: what a killed run, or another one, was creating.
                connection = self._open(target.url, target)
        session = PostgresSession(connection, target)
        try:
            yield session
        finally:
            with suppress(Exception):  # whatever broke, nothing may stay open
                if not (session.kept and self._keep(target, connection)):
                    connection.close()

    def create(self, target: Target, options: CreateOptions) -> bool:
        """CREATE DATABASE, from template0 unless told: it is the one that nobody can sit in."""
        if options.template:
            self._let_go()  # nobody may be connected to a template, we neither
        with self._maintenance(target, options) as connection:
            clauses = [sql.SQL("TEMPLATE {}").format(sql.Identifier(options.template or "template0"))]
            if options.owner:
                clauses.append(sql.SQL("OWNER {}").format(sql.Identifier(options.owner)))
            if options.encoding:
                clauses.append(sql.SQL("ENCODING {}").format(sql.Literal(options.encoding)))
            if options.locale:
                clauses.append(sql.SQL("LOCALE {}").format(sql.Literal(options.locale)))
            if options.connection_limit is not None:
                clauses.append(sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(options.connection_limit)))
            statement = sql.SQL("CREATE DATABASE {} {}").format(
                sql.Identifier(target.database), sql.SQL(" ").join(clauses)
            )
            created = True
            try:
                with errors.mapped(connection, target):
                    connection.execute(statement)
            except OrchError as error:
                # 42P04: duplicate_database; 23505: two creators met inside the catalogue.
                if getattr(error, "code", "") not in ("42P04", "23505"):
                    raise
                created = False
        with self._mutex:
            known = self._known.get(target.server_key)
            if known is not None:
                self._known[target.server_key] = known | {target.database}
        return created

    def copies(self, target: Target, options: CreateOptions) -> Copies:
        """Return the verbs for templates and clones."""
        from orchestrator.engines.postgres_copies import PostgresCopies

        return PostgresCopies(lambda: self._maintenance(target, options), target, options)

    def close(self) -> None:
        """Close the connections to maintenance databases, and those kept."""
        self._let_go()
        for connections in self._idle.values():
            for connection in connections:
                connection.close()

    def _open(self, url: str, target: Target, **changes: str) -> psycopg.Connection[Any]:
        parameters: dict[str, Any] = {"application_name": self._application, "client_encoding": "utf8", **changes}
        if (
            "keepalives" not in url
        ):  # a line that died without a word is noticed after a minute and a half, not two hours
            parameters |= {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 6}
        try:
            # psycopg reads the DSN anyway; a second time, for each of many databases, only where it may say these.
            options = conninfo_to_dict(url) if "connect_timeout" in url or "gssencmode" in url else {}
            parameters.setdefault("connect_timeout", options.get("connect_timeout") or CONNECT_TIMEOUT)
            # Without this libpq asks for GSS encryption first: one more round trip for every database.
            parameters.setdefault("gssencmode", options.get("gssencmode") or "disable")
            return psycopg.connect(url, autocommit=True, prepare_threshold=None, **parameters)
        except psycopg.Error as error:
            ours = errors.connect_error(error, target)
        if ours.transient and self._let_go():  # where connections are scarce, those kept are the ones that are missing
            return self._open(url, target, **changes)
        raise ours

    def _keep(self, target: Target, connection: psycopg.Connection[Any]) -> bool:
        """Keep a connection for the next session on its database. Many may wait so, but never for long."""
        if target.server_key not in self._room:
            self._room[target.server_key] = connection.execute(_ROOM).fetchall()[0][0]
        with self._mutex:
            waiting = sum(key == target.server_key for key, _ in self._kept.values())
            if target.url in self._kept or waiting >= self._room[target.server_key]:
                return False
            if not self._kept:
                timer = threading.Timer(KEEP_SECONDS, self._let_go)
                timer.daemon = True
                timer.start()
            self._kept[target.url] = (target.server_key, connection)
        return True

    def _let_go(self) -> bool:
        """Close all connections that are kept; return whether there were any."""
        with self._mutex:
            kept, self._kept = self._kept, {}
        for _, connection in kept.values():
            connection.close()
        return bool(kept)

    @contextmanager
    def _maintenance(self, target: Target, options: CreateOptions) -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection from which databases can be created; they are kept, one for each that works at a time."""
        with self._mutex:
            idle = self._idle.setdefault(target.server_key, [])
            connection = idle.pop() if idle else None
        if connection is None:
            connection = self._open_maintenance(target, options)
        try:
            yield connection
        finally:
            if connection.closed:
                connection.close()
            else:
                with self._mutex:
                    idle.append(connection)

    def _open_maintenance(self, target: Target, options: CreateOptions) -> psycopg.Connection[Any]:
        names = [options.maintenance_database] if options.maintenance_database else ["postgres", "template1"]
        for name in names[:-1]:
            with suppress(ConnectError):
                return self._open(target.url, target, dbname=name)
        return self._open(target.url, target, dbname=names[-1])

    def _lacks(self, target: Target) -> bool | None:
        """Whether the server has no such database; None if it cannot be asked. Its texts may be in any language: ask it."""
        with self._mutex:
            if target.server_key in self._known:
                known = self._known[target.server_key]
                return None if known is None else target.database not in known
        try:
            with self._maintenance(target, CreateOptions()) as connection:
                rows = connection.execute("SELECT datname FROM pg_catalog.pg_database").fetchall()
        except (OrchError, psycopg.Error):
            return None
        with self._mutex:
            self._known[target.server_key] = known = frozenset(row[0] for row in rows)
        return target.database not in known


# How many connections may be kept: one of four that this login could still open; the others are for applications.
_ROOM = """SELECT greatest(0, least(
        pg_catalog.current_setting('max_connections')::int
            - pg_catalog.current_setting('superuser_reserved_connections')::int
            - (SELECT pg_catalog.sum(numbackends) FROM pg_catalog.pg_stat_database),
        (SELECT CASE WHEN rolconnlimit >= 0 THEN rolconnlimit - 8 END
            FROM pg_catalog.pg_roles WHERE rolname = current_user)
    ) / 4)::int"""


class PostgresSession:
    """One connection; everything that it sends is autocommit, or one message with its own BEGIN and COMMIT."""

    def __init__(self, connection: psycopg.Connection[Any], target: Target) -> None:
        self._connection = connection
        self._target = target
        self.kept = False
        self._schema: str | None = None
        self._server_pid = 0
        self._looked = False
        self._has_pointer = False
        self._has_history = False

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
        return History(
            exists=True,
            store=self._has_history,
            pointer=pointer,
            revisions=tuple(_revision(row) for row in json.loads(revisions or "[]")),
            extensions=tuple(name for name in extensions if name in (installed or ())),
        )

    @contextmanager
    def lock(self, wait: float, on_wait: Callable[[LockHolder], None]) -> Iterator[None]:
        """Take golang-migrate's advisory lock, by trying: a waiter inside a statement would hold a snapshot open."""
        self._look()
        self._refuse_pooler()
        key = self._lock_key()
        deadline = time.monotonic() + wait
        while not self._one(f"SELECT pg_catalog.pg_try_advisory_lock({key})")[0]:
            holder = self._holder(key) or LockHolder("somebody who has just let go")
            if time.monotonic() >= deadline:
                raise LockError(
                    f"{self._target.database_id} is locked by {holder.description}",
                    detail=f"waited {wait:g} s",
                    hint="wait for it, or raise --lock-timeout",
                )
            on_wait(holder)
            time.sleep(TRY_LOCK_EVERY)
        if not (self._has_pointer and self._has_history):
            self._look()  # whoever held the lock may have created the tables since
        self._looked = True
        try:
            yield
        finally:
            with suppress(psycopg.Error):  # closing the connection gives it away too
                self._connection.execute(f"SELECT pg_catalog.pg_advisory_unlock({key})")

    def holder(self) -> LockHolder | None:
        """Return who holds the advisory lock."""
        self._look()
        return self._holder(self._lock_key())

    def unlock(self, holder: LockHolder) -> None:
        """Refuse: an advisory lock goes with its session, so there is never a dead one."""
        raise LockError(
            f"the lock of {self._target.database_id} belongs to a session that lives: {holder.description}",
            hint="end that session if you know what it does: SELECT pg_terminate_backend(<backend>);",
        )

    def keep(self) -> None:
        """Let the next session on this database have the connection."""
        self.kept = True

    def prepare(self, extensions: Sequence[str]) -> None:
        """CREATE EXTENSION for each."""
        for name in extensions:
            with errors.mapped(self._connection, self._target):
                self._connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name)))

    def commits(self, statement: Statement) -> bool:
        """Whether the statement may stand in a transaction block."""
        return statement.atomic

    def commit(
        self, statements: Sequence[Statement], revisions: Sequence[Revision], pointer: Pointer | None, limits: Limits
    ) -> None:
        """Send BEGIN, the statements, the records and COMMIT as one simple-query message: one round trip."""
        if self._schema is None:
            self._look()
        message = _Message(f"BEGIN; {_limits('SET LOCAL', limits)}")
        for statement in statements:
            message.text += statement.settings
            message.add(statement)
        message.text += f"{_RESET}; " if statements else ""
        message.text += self._store() + self._bookkeeping(revisions, pointer) + "COMMIT"
        if statements:
            message.text += f"; {_RESET_SESSION}"
        self._send(message)
        self._has_pointer = self._has_history = True

    def execute(self, statement: Statement, limits: Limits) -> None:
        """Run one statement alone, outside of any transaction block."""
        if settings := _limits("SET", limits) + statement.settings:
            self._send(_Message(settings))
        message = _Message("")
        message.add(statement, terminator="")
        try:
            self._send(message)  # alone: a second statement in the message would make it a transaction block
        finally:
            with suppress(ConnectionLostError):  # whoever writes next finds that out
                self._send(_Message(_RESET_SESSION))

    def probe(self, statement: Statement) -> tuple[Effect, str]:
        """Look in the catalogue what became of the statement."""
        if statement.settings:  # its names are looked up as it did
            self._send(_Message(statement.settings))
        with errors.mapped(self._connection, self._target):
            answer = probe(self._connection, statement)
        if statement.settings:
            self._send(_Message(_RESET_SESSION))
        return answer

    def cancel(self) -> None:
        """Cancel on the server, over a connection of its own."""
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=5)

    # ------------------------------------------------------------ what stands behind the verbs

    def _send(self, message: _Message) -> None:
        """Send one simple-query message. The number of results before the error tells which statement failed."""
        pgconn = self._connection.pgconn
        with errors.mapped(self._connection, self._target) as failing:
            with self._connection.lock:
                pgconn.send_query(message.text.encode())
                results = self._connection.wait(execute(pgconn))
            last = results[-1]
            if last.status == ExecStatus.FATAL_ERROR:
                error = error_from_result(last, encoding="utf-8")
                failing.at = message.place(results[:-1], error.diag.statement_position)
                raise error
            if last.status in (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH):
                failing.at = message.place(results[:-1], None)
                pgconn.finish()  # the protocol has no other way out
                raise psycopg.DataError("COPY from or to the client cannot be used in a migration")

    def _one(self, query: str) -> Any:
        with errors.mapped(self._connection, self._target):
            return self._connection.execute(query.encode()).fetchone()

    def _look(self) -> None:
        """Learn the schema, and which of the two tables are there."""
        row = self._one(
            "SELECT pg_catalog.pg_backend_pid(), s, pg_catalog.quote_ident(s), "
            f"pg_catalog.to_regclass(pg_catalog.quote_ident(s) || '.' || {self._literal(self._pointer_ident)}) IS NOT NULL, "
            f"pg_catalog.to_regclass(pg_catalog.quote_ident(s) || '.' || {self._literal(self._history_ident)}) IS NOT NULL "
            "FROM (SELECT pg_catalog.current_schema()::text AS s) AS schema"
        )
        self._server_pid = row[0]
        if row[1] is None:
            raise ConnectError(
                f"{self._target.database_id} has no current schema",
                detail="the search_path names no schema that exists",
                hint="CREATE SCHEMA public, or set search_path in the DSN (options=-csearch_path=...)",
            )
        _, self._schema, quoted, self._has_pointer, self._has_history = row
        self._pointer = self._pointer_ident if self._pointer_is_qualified else f"{quoted}.{self._pointer_ident}"
        self._history = f"{quoted}.{self._history_ident}"
        if self._pointer_is_qualified:
            self._has_pointer = self._one(f"SELECT pg_catalog.to_regclass({self._literal(self._pointer)}) IS NOT NULL")[
                0
            ]

    @property
    def _pointer_name(self) -> str:
        return self._target.parameters.get("x-migrations-table") or "schema_migrations"

    @property
    def _pointer_is_qualified(self) -> bool:
        return self._target.parameters.get("x-migrations-table-quoted", "").lower() in ("1", "t", "true")

    @property
    def _pointer_ident(self) -> str:
        return self._pointer_name if self._pointer_is_qualified else _identifier(self._pointer_name)

    @property
    def _history_ident(self) -> str:
        return _identifier(self._target.history_name)

    def _literal(self, value: object) -> str:
        return sql.Literal(value).as_string(self._connection)

    def _lock_key(self) -> int:
        schema, table = self._schema or "", self._pointer_name
        if self._pointer_is_qualified:  # golang-migrate splits "schema"."table" for the lock too
            parts = re.findall(r'"(.*?)"', table)
            schema, table = (parts[0], parts[1]) if len(parts) == 2 else (schema, parts[0] if parts else table)
        name = f"{schema}\0{table}\0/{self._target.database}".encode()
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
        if self._server_pid == self._connection.info.backend_pid:
            return
        # A pooler in transaction mode lends the session that served us last to the next who opens a transaction, or
        # another one to us. A busy one may do so by chance only: ask several times.
        for _ in range(POOLER_TRIES):
            with suppress(psycopg.Error), self._borrowed() as theirs:
                if theirs != self._server_pid and self._one(_BACKEND)[0] == self._server_pid:
                    continue
            raise LockError(
                f"{self._target.database_id} is behind a pooler in transaction mode, where a lock protects nothing",
                hint="give orch a DSN that goes to the server itself, or to a pool in session mode",
            )

    @contextmanager
    def _borrowed(self) -> Iterator[int]:
        """Open a transaction on a second connection, and tell which server session serves it."""
        with psycopg.connect(self._target.url, autocommit=True, connect_timeout=CONNECT_TIMEOUT) as other:
            # A pool that has no session left lets us wait: that tells as little as an error would.
            timer = threading.Timer(CONNECT_TIMEOUT, other.cancel_safe)
            timer.start()
            try:
                with other.transaction():
                    row = other.execute(_BACKEND).fetchone()
                    yield row[0] if row else 0
            finally:
                timer.cancel()

    def _store(self) -> str:
        text = ""
        if not self._has_pointer:
            text += (
                f"CREATE TABLE IF NOT EXISTS {self._pointer} "
                "(version bigint not null primary key, dirty boolean not null); "
            )
        if not self._has_history:
            text += f"CREATE TABLE IF NOT EXISTS {self._history} {_HISTORY_COLUMNS}; "
        return text

    def _bookkeeping(self, revisions: Sequence[Revision], pointer: Pointer | None) -> str:
        text = "".join(self._upsert(revision) for revision in revisions)
        if pointer is not None:
            text += f"DELETE FROM {self._pointer}; "
            if pointer.version is not None:
                text += f"INSERT INTO {self._pointer} VALUES ({int(pointer.version)}, {pointer.dirty}); "
        return text

    def _upsert(self, revision: Revision) -> str:
        """Times are the server's: an attempt starts with the transaction of its first record, and ends at its last."""
        literal = self._literal
        finished = "clock_timestamp()" if revision.done else "NULL"
        values = {
            "version": str(revision.version),
            "attempt": str(revision.attempt),
            "name": literal(revision.name),
            "direction": literal(revision.direction.value),
            "checksum": literal(revision.checksum),
            "applied": str(revision.applied),
            "total": str(revision.total),
            "in_flight": str(revision.in_flight),
            "prefix": literal(revision.prefix),
            "done": str(revision.done),
            "origin": literal(revision.origin.value),
            "started_at": "now()",
            "finished_at": finished,
            "seconds": f"extract(epoch FROM {finished} - now())" if revision.done else "NULL",
            "actor": literal(revision.actor),
            "run_id": literal(revision.run_id),
            "tool": literal(revision.tool),
            "error": literal(revision.error),
            "reason": literal(revision.reason),
            "format": str(revision.format),
        }
        updates = [f"{c} = EXCLUDED.{c}" for c in values if c not in ("version", "attempt", "started_at", "seconds")]
        updates.append(
            f"seconds = extract(epoch FROM {finished} - h.started_at)" if revision.done else "seconds = NULL"
        )
        return (
            f"INSERT INTO {self._history} AS h ({', '.join(values)}) VALUES ({', '.join(values.values())}) "
            f"ON CONFLICT (version, attempt) DO UPDATE SET {', '.join(updates)}; "
        )


class _Message:
    """A text of several statements that knows which part of it came from where in the file."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._before = text.count(";")  # statements of ours before the first of the file
        self._parts: list[tuple[int, Statement]] = []

    def add(self, statement: Statement, terminator: str = "\n;\n") -> None:
        self._parts.append((len(self.text), statement))
        self.text += statement.body + terminator

    def place(self, results: Sequence[PGresult], position: str | None) -> tuple[Statement, int | None] | None:
        """Return the failing statement and the offset in it.

        The server tells a position (from 1, in the whole message) for some errors only; `results` are of the statements
        that succeeded before. None: it was one of ours, after those of the file.
        """
        if position is not None:
            offset = int(position) - 1
            for start, statement in reversed(self._parts):
                if start <= offset <= start + len(statement.body):
                    put_before = len(statement.body) - len(statement.source)  # a SET TRANSACTION of ours
                    return statement, max(0, offset - start - put_before)
            return None
        index = len(results) - self._before
        if len(self._parts) == 1:  # which may be a whole BEGIN … COMMIT block; our first words after it are two RESETs
            tags = [result.command_status for result in results]
            index = int(any(pair == (b"RESET", b"RESET") for pair in pairwise(tags)))
        return (self._parts[index][1], None) if 0 <= index < len(self._parts) else None


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _limits(command: str, limits: Limits) -> str:
    """Return SET statements; a limit of None or 0 means none, and is set too, so that the server's default is not."""
    parts = []
    if limits.lock_timeout is not None:
        parts.append(f"{command} lock_timeout = {round(limits.lock_timeout * 1000)}; ")
    if limits.statement_timeout is not None:
        parts.append(f"{command} statement_timeout = {round(limits.statement_timeout * 1000)}; ")
    return "".join(parts)


def _missing(target: Target) -> DatabaseMissingError:
    return DatabaseMissingError(
        f"database '{target.database}' does not exist on {target.endpoint}", hint="orch apply creates it"
    )


_ORIGINS = {origin.value: origin for origin in Origin}


def _revision(row: dict[str, Any]) -> Revision:
    """Read a row of this or another release: columns that we do not know are passed over."""
    return Revision(
        version=row["version"],
        attempt=row["attempt"],
        name=row["name"],
        direction=Direction(row["direction"]),
        checksum=row["checksum"],
        applied=row["applied"],
        total=row["total"],
        in_flight=row["in_flight"],
        prefix=row["prefix"],
        done=row["done"],
        origin=_ORIGINS.get(row["origin"], Origin.APPLIED),
        started_at=_time(row.get("started_at")),
        finished_at=_time(row.get("finished_at")),
        seconds=row.get("seconds"),
        actor=row.get("actor", ""),
        run_id=row.get("run_id", ""),
        tool=row.get("tool", ""),
        error=row.get("error", ""),
        reason=row.get("reason", ""),
        format=row.get("format", 1),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
