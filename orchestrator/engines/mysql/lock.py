"""golang-migrate's lock: a named lock of the server, taken by trying, that goes with the session that holds it."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pymysql

from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import Answer, ask, ask_all
from orchestrator.engines.mysql.records import Records, quoted, text
from orchestrator.engines.mysql.writable import READ_ONLY, is_on, refuse
from orchestrator.errors import LockError
from orchestrator.model import LockHolder, Target

TRY_EVERY = 0.25  # seconds
_TELL_AFTER = 1.0  # seconds that a session has the lock of a new database
_UNKNOWN_VARIABLE = 1193


def lock_name(database: str, table: str) -> str:
    """Return the name that golang-migrate gives the lock of a database and its version table."""
    return str(zlib.crc32(f"{database}:{table}".encode()) * 1486364155 % 2**32)


class NamedLock:
    """The lock of one database. Its holder writes who it is into a table, because MariaDB shows only the login of a session.

    A new database has no such table yet, and hardly anybody waits for it: the table is created only if the lock is held for long.
    """

    def __init__(self, connection: Any, target: Target, records: Records, who: str) -> None:
        self._connection = connection
        self._target = target
        self._records = records
        self._who = who
        self.name = lock_name(target.database, records.version_table)
        self._condition = f"IS_USED_LOCK('{self.name}') <=> CONNECTION_ID()"
        self.held = False
        self._folded = ""
        self._is_single = False  # no node of a cluster, as far as is known
        self._is_told = False
        self._since = 0.0  # when it was taken, by `time.monotonic`

    @contextmanager
    def taken(self, wait: float, on_wait: Callable[[LockHolder], None]) -> Iterator[None]:
        """Hold the lock; LockError after `wait` seconds, ConnectError on a server that is read-only."""
        with errors.mapped(self._target):
            self._take(self.name, wait, on_wait)
            self._take_folded(wait, on_wait)
            self._since = time.monotonic()
            if not self._connection.is_new:
                with self.needed():
                    self._tell()
        self.held = True
        try:
            yield
        finally:
            self.held = False
            with suppress(pymysql.Error, OSError):  # closing the connection gives it away too
                names = filter(None, (self.name, self._folded))
                ask_all(self._connection, [f"DO RELEASE_LOCK('{name}')" for name in names])

    def is_ours(self) -> str:
        """Return SQL that tells whether this session holds the lock; 1 if it needs none."""
        return self._condition if self.held else "1"

    @contextmanager
    def needed(self) -> Iterator[None]:
        """Send messages that stop unless the lock is ours; LockError if one did."""
        try:
            yield
        except pymysql.Error as error:
            if errors.code_of(error) != errors.OUT_OF_RANGE:
                raise
            raise errors.lock_lost(self._target) from None

    def holder(self) -> LockHolder | None:
        """Return who holds the lock now."""
        with errors.mapped(self._target):
            return self._holder_of(self.name)

    def unlock(self, holder: LockHolder, *, terminate: bool) -> None:
        """End the session of the holder, which releases the lock. No lock outlives its session."""
        from orchestrator.engines.lock_holders import end_holder

        def end() -> None:
            with errors.mapped(self._target), suppress(pymysql.err.InternalError, pymysql.err.OperationalError):
                ask(self._connection, f"KILL {int(holder.key)}")

        end_holder(self._target.database_id, holder, terminate=terminate, end=end, current=self.holder)

    def _holder_of(self, name: str) -> LockHolder | None:
        ((id, now),) = ask(self._connection, f"SELECT IS_USED_LOCK('{name}'), UTC_TIMESTAMP(6)")
        return self._described(id, now.replace(tzinfo=UTC)) if id is not None else None

    def _take_folded(self, wait: float, on_wait: Callable[[LockHolder], None]) -> None:
        """Take the lock of the name in lower case too, on a server where `Orders` and `orders` are one database."""
        folded = lock_name(self._target.database.lower(), self._records.version_table.lower())
        if folded == self.name or not ask(self._connection, "SELECT @@lower_case_table_names")[0][0]:
            return
        self._take(folded, wait, on_wait)
        self._folded = folded

    def _take(self, name: str, wait: float, on_wait: Callable[[LockHolder], None]) -> None:
        deadline = time.monotonic() + wait
        while True:
            got, closed = self._try(name)
            if got == 1:
                break
            holder = self._holder_of(name) or LockHolder("somebody who has just let go")
            if time.monotonic() >= deadline:
                raise LockError(
                    f"{self._target.database_id} is locked by {holder.description}",
                    detail=f"waited {wait:g} s",
                    hint="wait for it, or raise --lock-timeout",
                )
            on_wait(holder)
            time.sleep(TRY_EVERY)
        if is_on(closed):  # whoever takes the lock wants to write
            ask(self._connection, f"SELECT RELEASE_LOCK('{name}')")
            refuse(closed, self._target)

    def tell_if_long(self) -> None:
        """Write down who has the lock, if that is not done and it is held for long. No transaction is open then."""
        if self.held and not self._is_told and time.monotonic() - self._since >= _TELL_AFTER:
            with errors.mapped(self._target), self.needed():
                self._tell()

    def tell_over(self, other: Any) -> None:
        """Write the same over another connection, while this one runs a statement that takes long."""
        if not self.held or self._is_told:
            return
        id = self._connection.thread_id()
        still = errors.stop_unless([f"IS_USED_LOCK('{self.name}') <=> {id}"])
        queries = [
            "SET SESSION lock_wait_timeout = 1",  # the file may have locked all tables
            f"USE {quoted(self._target.database)}",
            *(still, self._create_table()),
            *(still, self._who_has_it(str(id))),
        ]
        with suppress(pymysql.Error, OSError):
            ask_all(other, queries)
            self._is_told = True

    def _tell(self) -> None:
        """Write down who has the lock, in memory: it ends with the server, as the lock does.

        With the same message, notice a proxy that gives it to another session of the server than the one before.
        """
        is_ours = errors.stop_unless([self._condition])
        self._is_told = True
        try:
            ask_all(self._connection, [is_ours, self._who_has_it()])
        except pymysql.Error as error:
            if errors.code_of(error) == errors.OUT_OF_RANGE:
                raise
            # Not needed: without it others are told the login of this session.
            if errors.code_of(error) == 1146:
                with suppress(pymysql.err.ProgrammingError, pymysql.err.OperationalError, pymysql.err.InternalError):
                    ask_all(self._connection, [self._create_table(), self._who_has_it()])

    def _create_table(self) -> str:
        return (
            f"CREATE TABLE IF NOT EXISTS {quoted(self._records.lock_table)} (slot int NOT NULL PRIMARY KEY, "
            "connection bigint NOT NULL, who varchar(255) NOT NULL, since datetime(6) NOT NULL) "
            "ENGINE=MEMORY DEFAULT CHARSET=utf8mb4"
        )

    def _who_has_it(self, id: str = "CONNECTION_ID()") -> str:
        since = f"UTC_TIMESTAMP(6) - INTERVAL {time.monotonic() - self._since:.3f} SECOND"
        return f"REPLACE INTO {quoted(self._records.lock_table)} VALUES (1, {id}, {text(self._who[:255])}, {since})"

    def _described(self, id: int, now: datetime) -> LockHolder:
        who, since = "", cast("datetime | None", None)
        with suppress(pymysql.err.ProgrammingError, pymysql.err.OperationalError):
            query = f"SELECT who, since FROM {quoted(self._records.lock_table)} WHERE connection = {int(id)}"
            for told, began in ask(self._connection, query):
                who, since = str(told), began.replace(tzinfo=UTC)
        query = f"SELECT USER, HOST, TIME, STATE FROM information_schema.PROCESSLIST WHERE ID = {int(id)}"
        for user, host, seconds, state in ask(self._connection, query):
            who = f"{who or 'another program'} (connection {id}, {user} from {host}{f', {state}' if state else ''})"
            since = since or now - timedelta(seconds=int(seconds or 0))
        return LockHolder(who or f"connection {id}", since, str(id), alive=True)

    def _try(self, name: str) -> tuple[Any, Any]:
        """Try to take a lock. Return whether that is done, and what read_only is. LockError on a node of a cluster."""
        query = f"SELECT GET_LOCK('{name}', 0), {READ_ONLY}"
        if not self._is_single:
            answers: list[Answer] = []
            try:
                ask_all(self._connection, [f"{query}, @@wsrep_on, @@wsrep_provider"], answers)
            except pymysql.Error as error:
                if not answers and errors.code_of(error) != _UNKNOWN_VARIABLE:
                    raise
            self._is_single = True
            if answers:
                ((got, closed, on, provider),) = answers[0]
                self._refuse_cluster(on, provider)
                return got, closed
        ((got, closed),) = ask(self._connection, query)
        return got, closed

    def _refuse_cluster(self, on: Any, provider: Any) -> None:
        """A named lock is of one node alone: on a Galera cluster it keeps nobody out."""
        if on and str(provider).lower() not in ("none", ""):
            raise LockError(
                f"{self._target.database_id} is on a Galera cluster, where the migration lock is of one node alone",
                hint="orch does not migrate Galera clusters yet: run golang-migrate with x-no-lock, and only one at a time",
            )
