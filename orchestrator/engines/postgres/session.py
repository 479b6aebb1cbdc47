"""One database's session: reading its history, its lock, its transactions, all over one connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus

from orchestrator.engines.base import Effect, Limits
from orchestrator.engines.postgres import errors
from orchestrator.engines.postgres.history import point, record
from orchestrator.engines.postgres.lock_queue import limits_alone, limits_together, timed, watching
from orchestrator.engines.postgres.message import RESET, RESET_SESSION, Message, set_limits
from orchestrator.engines.postgres.tables import Tables
from orchestrator.errors import ConnectionLostError, LockError
from orchestrator.model import Blocking, History, LockHolder, Picture, Pointer, Revision, Statement, Target, Thing

CONNECT_TIMEOUT = 10  # seconds, unless the DSN says otherwise
TRY_LOCK_EVERY = 0.25  # seconds
POOLER_TRIES = 3
MAX_WARNINGS = 20  # of one file
_NO_LOCK = "true"
_BACKEND = "SELECT pg_catalog.pg_backend_pid()"


class PostgresSession:
    """One connection; everything that it sends is autocommit, or one message with its own BEGIN and COMMIT."""

    def __init__(self, connection: psycopg.Connection[Any], target: Target, *, pristine: bool = False) -> None:
        self.connection = connection
        self.target = target
        self.kept = False
        self._tables = Tables(connection, target, pristine=pristine)
        self._held = _NO_LOCK
        self._used = False  # by a file that is done
        self._warnings: dict[str, None] = {}
        self._looked = False  # under the lock, just now
        self._read: History | None = None  # with the lock, and nothing has been written since

    def read_history(self, extensions: Sequence[str] = ()) -> History:
        """Read history and pointer in one snapshot."""
        read, looked = self._read, self._looked
        self._read, self._looked = None, False
        if read is not None and not extensions:
            return read
        if not looked:
            self._tables.look()
        return self._tables.read(extensions)

    @contextmanager
    def lock(self, wait: float, on_wait: Callable[[LockHolder], None]) -> Iterator[None]:
        """Take golang-migrate's advisory lock, by trying: a waiter inside a statement would hold a snapshot open."""
        if self._tables.schema is None:
            self._tables.look()
        self._refuse_pooler()
        deadline = time.monotonic() + wait
        key = self._try_lock(deadline, wait, on_wait)
        while not self._tables.complete:
            self._tables.look(elsewhere=self._tables.moved)  # whoever held the lock may have created the tables since
            if self._tables.lock_key() == key:
                break
            self._unlock(key)
            key = self._try_lock(deadline, wait, on_wait)
        self._looked = True
        self.connection.add_notice_handler(self._take_warning)
        # Held twice: that one can be given back and taken again tells, with no gap, that nobody gave both away.
        self._held = f"pg_catalog.pg_advisory_unlock({key}) AND pg_catalog.pg_try_advisory_lock({key})"
        try:
            yield
        finally:
            self.connection.remove_notice_handler(self._take_warning)
            self._held, self._read = _NO_LOCK, None
            with suppress(psycopg.Error):  # closing the connection gives it away too
                self._unlock(key)

    def holder(self) -> LockHolder | None:
        """Return who holds the advisory lock."""
        self._tables.look()
        return self._holder(self._tables.lock_key())

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
        self._read = None
        if self._tables.schema is None:
            self._tables.look()
        # What the file before may have left goes first, and is committed first: what fails there has done nothing.
        clean = f"BEGIN; {RESET_SESSION}; COMMIT; " if self._used and statements else ""
        limits = limits_together(statements, limits)
        message = Message(f"{clean}BEGIN; {set_limits('SET LOCAL', limits)}")
        if statements:
            message.put(self._tables.create_version_table())
        for statement in statements:
            message.put(statement.settings)
            message.add(statement)
        if statements:
            message.put(f"{RESET}; ")
        locked = self._held != _NO_LOCK
        message.put_checks([(self._held, errors.LOCK_LOST), *(self._tables.unchanged() if locked else ())])
        message.put(self._tables.create(after_file=bool(statements)))
        for revision in revisions:
            message.put(record(self.connection, self._tables.history, revision))
        if pointer is not None:
            message.put(point(self._tables.pointer, pointer))
        message.put("COMMIT")
        with timed(limits):
            self._send(message)
        if clean:
            self._used = False
        if revisions and all(revision.done for revision in revisions):
            self._used = True
        self._tables.written(revisions, pointer)

    def execute(self, statement: Statement, limits: Limits) -> None:
        """Run one statement alone, outside of any transaction block."""
        from orchestrator.engines.postgres.probe import resumed  # only files that are not one transaction come here

        self._clean()
        limits = limits_alone(statement, limits)
        if settings := set_limits("SET", limits) + statement.settings:
            self._send(Message(settings))
        with errors.mapped(self.connection, self.target) as failing:
            failing.at = statement, None
            body = resumed(self.connection, statement)
        message = Message("")
        message.add(statement, terminator="", body=body)
        try:
            with timed(limits):
                self._send(message)  # alone: a second statement in the message would make it a transaction block
        finally:
            with suppress(ConnectionLostError):  # whoever writes next finds that out
                self._send(Message(RESET))

    def probe(self, statement: Statement, limits: Limits) -> tuple[Effect, str]:
        """Look in the catalogue what became of the statement."""
        from orchestrator.engines.postgres.probe import probe

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

    def warnings(self) -> list[str]:
        """Return the WARNINGs of the files, as of RAISE; what is said below that, such as NOTICE, is for a terminal."""
        said, self._warnings = self._warnings, {}
        return list(said)

    @contextmanager
    def watch(self) -> Iterator[Callable[[], Blocking | None]]:
        """Ask pg_blocking_pids over a connection of its own."""
        try:
            other = psycopg.connect(self.target.url, autocommit=True, connect_timeout=CONNECT_TIMEOUT)
        except psycopg.Error:
            yield lambda: None
            return
        try:
            yield watching(other, self._tables.server_pid)
        finally:
            other.close()

    def picture(self) -> Picture:
        """Read the catalogue."""
        from orchestrator.engines.postgres.schema_snapshot import picture

        self._tables.look()
        with errors.mapped(self.connection, self.target):
            return picture(self.connection, (self._tables.pointer, self._tables.history))

    def is_bare(self, thing: Thing) -> bool:  # noqa: ARG002 - PostgreSQL makes nothing by itself
        """Return False: nothing is there that no statement made."""
        return False

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
                failing.records = message.has_statements and failing.at is None
                raise error
            if last.status in (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH):
                failing.at = message.place(results[:-1], None)
                pgconn.finish()  # the protocol has no other way out
                raise psycopg.DataError("COPY from or to the client cannot be used in a migration")

    def _take_warning(self, said: psycopg.errors.Diagnostic) -> None:
        if said.severity_nonlocalized == "WARNING" and said.message_primary and len(self._warnings) < MAX_WARNINGS:
            self._warnings[said.message_primary] = None

    def _clean(self) -> None:
        """Remove from the session what the file before has left."""
        if self._used:
            self._send(Message(RESET_SESSION))
            self._used = False

    def _try_lock(self, deadline: float, wait: float, on_wait: Callable[[LockHolder], None]) -> int:
        """Take the lock, twice, and return its key."""
        key = self._tables.lock_key()
        take = f"pg_catalog.pg_try_advisory_lock({key})"
        while not self._take(f"SELECT {take} AND {take}"):
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

    def _take(self, query: str) -> bool:
        """Try the lock. Whoever has it reads the history next: that comes in the same round trip."""
        if not self._tables.complete:
            return bool(self._tables.ask(query)[0])
        taken, history = self._tables.read_after(query)
        self._read = history if taken else None
        return bool(taken)

    def _unlock(self, key: int) -> None:
        self.connection.execute(f"SELECT pg_catalog.pg_advisory_unlock({key}), pg_catalog.pg_advisory_unlock({key})")

    def _holder(self, key: int) -> LockHolder | None:
        row = self._tables.ask(
            "SELECT a.pid, a.application_name, coalesce(a.client_addr::text, 'local'), a.backend_start, a.state "
            "FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid) "
            f"WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = {key} "
            "AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
        )
        if row is None:
            return None
        pid, application, address, since, state = row
        who = application or "golang-migrate or another client"
        description = f"{who} (backend {pid} from {address}, {state or 'unknown'}, since {since:%H:%M:%S})"
        return LockHolder(description, since, alive=True)

    def _refuse_pooler(self) -> None:
        """A session lock means nothing behind a pooler that hands the server session to others between transactions."""
        if self._tables.server_pid == self.connection.info.backend_pid:
            return
        # A pooler in transaction mode lends the session that served us last to the next who opens a transaction, or
        # another one to us. A busy one may do so by chance only: ask several times.
        for _ in range(POOLER_TRIES):
            with suppress(psycopg.Error), self._borrowed() as theirs:
                if theirs != self._tables.server_pid and self._tables.ask(_BACKEND)[0] == self._tables.server_pid:
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
