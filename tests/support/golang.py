"""What golang-migrate does to a server, step by step, on the real server: to take over from it, and to be followed by it.

Written from the facts of its source (4.19). It holds its lock, writes the version table dirty, sends a file as one message (or a
MongoDB file command by command), writes the version table clean. `crash_at` ends it as SIGKILL would.
"""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psycopg
import pymysql
from bson import Int64, json_util
from psycopg.pq import ExecStatus
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymysql.constants import CLIENT

from orchestrator.embedded import Server

NIL = -1
Crash = Literal["locked", "dirty", "middle", "ran"]
_NAME = re.compile(r"^([0-9]+)_(.*)\.(down|up)\.(.*)$")


class GolangError(Exception):
    """It ended with an error: a failed file, a dirty database, or a lock that it did not get."""


class Crashed(Exception):
    """It was killed, as the test wanted."""


class _Golang:
    """What both drivers share: the files, and the way from one version to another."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def up(self, steps: int | None = None, crash_at: Crash | None = None) -> None:
        """Run `migrate up [N]`."""
        with self._locked(crash_at):
            version = self._clean_version()
            todo = [v for v in self.versions() if v > version][:steps]
            for target in todo:
                self._migrate(target, target, "up", crash_at)

    def down(self, steps: int | None = None, crash_at: Crash | None = None) -> None:
        """Run `migrate down [N]` (all of them without N)."""
        with self._locked(crash_at):
            version = self._clean_version()
            standing = [v for v in reversed(self.versions()) if v <= version]
            for source in standing[:steps]:
                below = [v for v in self.versions() if v < source]
                self._migrate(source, below[-1] if below else NIL, "down", crash_at)

    def force(self, version: int) -> None:
        """Run `migrate force V`: what people do to get unstuck."""
        with self._locked(None):
            self._set_version(version, False)

    def versions(self) -> list[int]:
        """Return the versions that have a file of either way: one that is missing counts as empty."""
        found = (_NAME.match(path.name) for path in self._directory.iterdir())
        return sorted({int(match[1]) for match in found if match})

    def _migrate(self, version: int, target: int, way: str, crash_at: Crash | None) -> None:
        self._set_version(target, True)
        if crash_at == "dirty":
            raise Crashed
        for path in self._directory.iterdir():
            match = _NAME.match(path.name)
            if match and int(match[1]) == version and match[3] == way:
                self._run(path.read_text(), crash_at)
        if crash_at == "ran":
            raise Crashed
        self._set_version(target, False)

    def _clean_version(self) -> int:
        version, dirty = self.version()
        if dirty:
            raise GolangError(f"Dirty database version {version}. Fix and force version.")
        return version

    def version(self) -> tuple[int, bool]:
        raise NotImplementedError

    def _set_version(self, version: int, dirty: bool) -> None:
        raise NotImplementedError

    def _run(self, text: str, crash_at: Crash | None) -> None:
        raise NotImplementedError

    def _locked(self, crash_at: Crash | None) -> AbstractContextManager[None]:
        raise NotImplementedError


class GolangPostgres(_Golang):
    """golang-migrate with its driver for PostgreSQL. `database` is the path of the URL, without its slash."""

    def __init__(self, dsn: str, database: str, directory: Path) -> None:
        super().__init__(directory)
        self._dsn = dsn
        self._key = zlib.crc32(f"public\0schema_migrations\0/{database}".encode()) * 1486364155 % 2**32
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The session that works."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._dsn, autocommit=True)
        return self._connection

    def lock(self) -> None:
        """Wait for the lock inside a statement, for ever: as it does."""
        self.connection.execute(f"SELECT pg_advisory_lock({self._key})")
        self.connection.execute(
            'CREATE TABLE IF NOT EXISTS "public"."schema_migrations" '
            "(version bigint not null primary key, dirty boolean not null)"
        )

    def unlock(self) -> None:
        self.connection.execute(f"SELECT pg_advisory_unlock({self._key})")

    @contextmanager
    def _locked(self, crash_at: Crash | None) -> Iterator[None]:
        self.lock()
        try:
            if crash_at == "locked":
                raise Crashed
            yield
            self.unlock()
        finally:
            self.connection.close()

    def version(self) -> tuple[int, bool]:
        row = self.connection.execute('SELECT version, dirty FROM "public"."schema_migrations" LIMIT 1').fetchone()
        return (row[0], row[1]) if row else (NIL, False)

    def _set_version(self, version: int, dirty: bool) -> None:
        with self.connection.transaction():
            self.connection.execute('TRUNCATE "public"."schema_migrations"')
            if version >= 0 or dirty:
                self.connection.execute('INSERT INTO "public"."schema_migrations" VALUES (%s, %s)', (version, dirty))

    def _run(self, text: str, crash_at: Crash | None) -> None:
        result = self.connection.pgconn.exec_(text.encode())
        if result.status == ExecStatus.FATAL_ERROR:
            raise GolangError(result.error_message.decode())
        if crash_at == "middle":  # one message is one transaction: killed in it, nothing of it stays
            raise Crashed


class GolangMongo(_Golang):
    """golang-migrate with its driver for MongoDB."""

    def __init__(self, client: MongoClient[Any], database: str, directory: Path) -> None:
        super().__init__(directory)
        self._database = client[database]
        self._locks = self._database["migrate_advisory_lock"]
        self._version_row = self._database["schema_migrations"]

    @contextmanager
    def _locked(self, crash_at: Crash | None) -> Iterator[None]:
        self._locks.create_index([("locking_key", -1)], unique=True, name="lock_unique_key")
        document = {
            "locking_key": 0,
            "pid": os.getpid(),
            "hostname": socket.gethostname(),
            "created_at": datetime.now(UTC),
        }
        try:
            self._locks.insert_one(document)
        except DuplicateKeyError:
            raise GolangError("can't acquire database lock") from None
        if crash_at == "locked":
            raise Crashed
        try:
            yield
        except Crashed:  # the document stays: it has no expiry
            raise
        except BaseException:
            self._locks.delete_one({"locking_key": 0})
            raise
        self._locks.delete_one({"locking_key": 0})

    def version(self) -> tuple[int, bool]:
        document = self._version_row.find_one({})
        return (document["version"], document["dirty"]) if document else (NIL, False)

    def _set_version(self, version: int, dirty: bool) -> None:
        self._version_row.drop()
        self._version_row.insert_one({"version": Int64(version), "dirty": dirty})

    def _run(self, text: str, crash_at: Crash | None) -> None:
        for number, command in enumerate(json_util.loads(text)):
            if crash_at == "middle" and number:
                raise Crashed
            try:
                reply = self._database.command(command)
            except PyMongoError as error:
                raise GolangError(str(error)) from error
            if reply.get("writeErrors") or reply.get("writeConcernError"):
                raise GolangError(str(reply))


class GolangMysql(_Golang):
    """golang-migrate with its driver for MySQL: a file is one message, which the server runs to its end in any case."""

    def __init__(self, server: Server, database: str, directory: Path) -> None:
        super().__init__(directory)
        self._options: dict[str, Any] = {"host": server.host, "port": server.port, "user": server.user}
        self._options |= {"password": server.password, "database": database, "ssl_disabled": True, "autocommit": True}
        self._name = str(zlib.crc32(f"{database}:schema_migrations".encode()) * 1486364155 % 2**32)
        self._connection: Any = None

    @property
    def connection(self) -> Any:
        """The session that works; it sends several statements in one message."""
        if self._connection is None or not self._connection.open:
            self._connection = pymysql.connect(**self._options, client_flag=CLIENT.MULTI_STATEMENTS)
        return self._connection

    def _ask(self, query: str) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    @contextmanager
    def _locked(self, crash_at: Crash | None) -> Iterator[None]:
        if self._ask(f"SELECT GET_LOCK('{self._name}', 10)")[0][0] != 1:
            raise GolangError("can't acquire lock")
        try:
            if not self._ask("SHOW TABLES LIKE 'schema_migrations'"):
                self._ask(
                    "CREATE TABLE `schema_migrations` (version bigint not null primary key, dirty boolean not null)"
                )
            if crash_at == "locked":
                raise Crashed
            yield
        finally:
            self.connection.close()

    def version(self) -> tuple[int, bool]:
        rows = self._ask("SELECT version, dirty FROM `schema_migrations` LIMIT 1")
        return (int(rows[0][0]), bool(rows[0][1])) if rows else (NIL, False)

    def _set_version(self, version: int, dirty: bool) -> None:
        self._ask("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        self._ask("START TRANSACTION")
        self._ask("DELETE FROM `schema_migrations` LIMIT 1")
        if version >= 0 or dirty:
            self._ask(f"INSERT INTO `schema_migrations` (version, dirty) VALUES ({version}, {int(dirty)})")
        self._ask("COMMIT")

    def _run(self, text: str, crash_at: Crash | None) -> None:
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(text)
                while cursor.nextset():
                    pass
        except pymysql.Error as error:
            raise GolangError(str(error)) from None
        if crash_at == "middle":  # the server has run the message to its end
            raise Crashed


class GolangSqlite(_Golang):
    """golang-migrate with its driver for SQLite: no lock at all, and a file in a transaction of its own."""

    def __init__(self, path: Path, directory: Path) -> None:
        super().__init__(directory)
        self._path = path

    @contextmanager
    def _locked(self, crash_at: Crash | None) -> Iterator[None]:
        self.connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            self.connection.execute("CREATE TABLE IF NOT EXISTS schema_migrations (version uint64,dirty bool)")
            self.connection.execute("CREATE UNIQUE INDEX IF NOT EXISTS version_unique ON schema_migrations (version)")
            if crash_at == "locked":
                raise Crashed
            yield
        finally:
            self.connection.close()

    def version(self) -> tuple[int, bool]:
        with closing(sqlite3.connect(self._path)) as connection:
            row = connection.execute("SELECT version, dirty FROM schema_migrations LIMIT 1").fetchone()
        return (int(row[0]), bool(row[1])) if row else (NIL, False)

    def _set_version(self, version: int, dirty: bool) -> None:
        self.connection.execute("BEGIN")
        self.connection.execute("DELETE FROM schema_migrations")
        if version >= 0 or dirty:
            self.connection.execute("INSERT INTO schema_migrations (version, dirty) VALUES (?, ?)", (version, dirty))
        self.connection.execute("COMMIT")

    def _run(self, text: str, crash_at: Crash | None) -> None:
        try:
            self.connection.executescript(f"BEGIN;\n{text}\n;" + ("" if crash_at == "middle" else "COMMIT;"))
        except sqlite3.Error as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise GolangError(str(error)) from None
        if crash_at == "middle":
            raise Crashed
