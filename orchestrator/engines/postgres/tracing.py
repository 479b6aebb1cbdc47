"""Run the statements of a file and see what each really does: its locks, the tables that it writes anew or reads.

What is read is counted by the server within a transaction, also that which is done for foreign keys and new indexes;
that a table was written anew shows in the name of its file. A statement that commits by itself is looked at from a second
session while it runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any, LiteralString, NamedTuple

import psycopg

from orchestrator.engines.postgres.session import PostgresSession
from orchestrator.model import Measured, Script, Statement

_POLL = 0.002  # seconds
_USER_TABLES: LiteralString = (
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
)
_NAME: LiteralString = "CASE n.nspname WHEN 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END"
_LOOK: LiteralString = (
    f"SELECT c.oid, {_NAME}, pg_catalog.pg_relation_filenode(c.oid), pg_catalog.pg_stat_get_xact_numscans(c.oid) + coalesce("
    "(SELECT sum(pg_catalog.pg_stat_get_xact_numscans(i.indexrelid)) FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid), 0) "
    + _USER_TABLES
)
_LOCKS: LiteralString = (
    "SELECT l.relation, l.mode FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation' AND l.granted AND l.pid = %s"
    " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())"
)


class _Seen(NamedTuple):
    names: dict[int, str]
    files: dict[int, Any]
    reads: dict[int, int]
    locks: set[tuple[int, str]]


def tables(session: PostgresSession) -> set[int]:
    """Return the oids of all tables that are there."""
    return oids(session.connection)


def oids(connection: psycopg.Connection[Any]) -> set[int]:
    """Return what `tables` does."""
    return set(_look(connection).names)


def trace(
    session: PostgresSession, watched_by: PostgresSession, script: Script, old: Collection[int]
) -> Iterator[Measured]:
    """Run a file as orch does, and yield what each of its statements did; the last one has an error if it failed.

    `old` are the tables that were there before the plan.
    Both sessions are on the same database, which is no longer needed afterwards, and begin outside of a transaction.
    """
    connection, watcher = session.connection, watched_by.connection
    connection.autocommit = watcher.autocommit = True
    if script.atomic:
        connection.execute("BEGIN")
        yield from measure(connection, script, old)
        try:
            connection.execute("COMMIT")  # a ROLLBACK, if one has failed
        except psycopg.Error as error:
            yield _failed(len(script.statements) - 1, error)
        return
    for number, statement in enumerate(script.statements):
        try:
            if statement.atomic:
                connection.execute("BEGIN")
                yield _within(connection, number, statement, old)
                connection.execute("COMMIT")
            else:
                yield _alone(connection, watcher, number, statement, old)
        except psycopg.Error as error:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            yield _failed(number, error)
            return


def measure(connection: psycopg.Connection[Any], script: Script, old: Collection[int]) -> Iterator[Measured]:
    """Run the statements of a file within the transaction that is open, and yield what each did, until one fails."""
    for number, statement in enumerate(script.statements):
        try:
            yield _within(connection, number, statement, old)
        except psycopg.Error as error:
            yield _failed(number, error)
            return


def _failed(number: int, error: psycopg.Error) -> Measured:
    return Measured(number, error=error.diag.message_primary or str(error))


def _text(statement: Statement) -> bytes:
    return (statement.opening + str(statement.body)).encode()


def _within(connection: psycopg.Connection[Any], number: int, statement: Statement, old: Collection[int]) -> Measured:
    if statement.source.lstrip()[:3].upper() == "SET":  # SET TRANSACTION must be the first query
        connection.execute(_text(statement))
        return Measured(number)
    before = _look(connection)
    begun = time.monotonic()
    connection.execute(_text(statement))
    seconds = time.monotonic() - begun
    return _difference(number, before, _look(connection), seconds, old)


def _alone(
    connection: psycopg.Connection[Any],
    watcher: psycopg.Connection[Any],
    number: int,
    statement: Statement,
    old: Collection[int],
) -> Measured:
    before, failed = _look(watcher), list[psycopg.Error]()
    pid, begun, locks = connection.info.backend_pid, time.monotonic(), set[tuple[int, str]]()

    def run() -> None:
        try:
            connection.execute(_text(statement))
        except psycopg.Error as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        locks |= _locks(watcher, pid)
        thread.join(_POLL)
    seconds = time.monotonic() - begun
    if failed:
        raise failed[0]
    after = _look(watcher)
    return _difference(number, before, after._replace(locks=locks), seconds, old, polled=True)


def _look(connection: psycopg.Connection[Any]) -> _Seen:
    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        rows = cursor.execute(_LOOK).fetchall()
    names = {oid: name for oid, name, _, _ in rows}
    files, reads = {oid: file for oid, _, file, _ in rows}, {oid: int(count or 0) for oid, _, _, count in rows}
    return _Seen(names, files, reads, _locks(connection, connection.info.backend_pid))


def _locks(connection: psycopg.Connection[Any], pid: int) -> set[tuple[int, str]]:
    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        return set(cursor.execute(_LOCKS, (pid,)).fetchall())


def _difference(
    number: int, before: _Seen, after: _Seen, seconds: float, old: Collection[int], *, polled: bool = False
) -> Measured:
    """Return what is new. Locks that the transaction holds already count where the statement works under them."""
    names = after.names | before.names
    rewritten = [oid for oid, file in before.files.items() if oid in after.files and after.files[oid] != file]
    read = [oid for oid, count in after.reads.items() if count > before.reads.get(oid, 0)] if not polled else []
    locks = {lock for lock in after.locks if lock not in before.locks or lock[0] in (*rewritten, *read)}
    shown = sorted((names[oid], _mode(mode)) for oid, mode in locks if oid in names)
    return Measured(
        number,
        tuple(shown),
        tuple(sorted(names[oid] for oid in rewritten)),
        tuple(sorted(names[oid] for oid in read)),
        seconds,
        polled,
        frozenset(names[oid] for oid in {*rewritten, *read, *(oid for oid, _ in locks)} if oid in old and oid in names),
    )


def _mode(mode: str) -> str:
    """Return the name of a lock as the manual has it: AccessExclusiveLock is ACCESS EXCLUSIVE."""
    words = "".join(f" {char}" if char.isupper() else char for char in mode.removesuffix("Lock"))
    return words.strip().upper()
