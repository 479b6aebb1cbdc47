"""One database of each engine for the contract suite, and each engine's own language to prepare it and to look at it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pymysql
from estate import SERVERS, Estate, start
from memory_engine import Memory, Store

from orchestrator.engines import load_engine
from orchestrator.engines.base import Engine, Limits, Session
from orchestrator.manifest.dsn import Redactor, resolve
from orchestrator.model import (
    Attempt,
    CreateOptions,
    Database,
    Direction,
    File,
    Statement,
    Target,
    VersionRow,
)
from orchestrator.secret import Secret

NO_LIMITS = Limits()
DONE = Attempt(1, 1, "one", Direction.UP, "sha256:1", applied=1, total=1, done=True)


class Dialect:
    """The same few things said in each engine's own language, and looked at past the engine."""

    creates: bool
    """Whether `create` makes anything."""
    alone: Sequence[str]
    """Statements that cannot commit with their record: make a thing, one that is refused, one that cannot be probed."""
    fill: str
    """Adds a row to the thing `rows`, which is there; can commit with its record."""
    refused: tuple[str, str]
    """A statement that can commit and that the server refuses, and the code it gives."""
    slow: str
    slow_mark: str

    def __init__(self, estate: Estate, name: str) -> None:
        self.estate = estate
        self.name = name


class PostgresDialect(Dialect):
    creates = True
    alone = (
        "CREATE INDEX CONCURRENTLY rows_id ON rows (id)",
        "VACUUM nowhere",
        "CREATE INDEX CONCURRENTLY ON rows (id)",
    )
    fill = "INSERT INTO rows VALUES (1)"
    refused = ("INSERT INTO rows VALUES ('many')", "22P02")
    slow = "SELECT pg_sleep(60)"
    alone_code = "42P01"

    def prepare(self) -> None:
        self.estate.sql(self.name, "CREATE TABLE rows (id int)")

    def rows(self) -> int:
        return int(self.estate.sql(self.name, "SELECT count(*) FROM rows")[0][0])

    def made(self) -> bool:
        return bool(self.estate.sql(self.name, "SELECT 1 FROM pg_class WHERE relname = 'rows_id'"))

    def version_rows(self) -> list[Any]:
        return [{"version": v, "dirty": d} for v, d in self.estate.version_row(self.name)]

    def last_down(self) -> list[Any]:
        return []

    def golang_migrate_writes(self, version: int, dirty: bool) -> None:
        self.estate.sql(
            self.name, "CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null)"
        )
        self.estate.sql(self.name, "INSERT INTO schema_migrations VALUES (%s, %s)", version, dirty)

    def add_field(self) -> None:
        self.estate.sql(self.name, "ALTER TABLE orch_history ADD COLUMN mood text NOT NULL DEFAULT 'good'")

    def remove_field(self) -> None:
        self.estate.sql(self.name, "ALTER TABLE orch_history DROP COLUMN reason, DROP COLUMN tool")

    def stored(self) -> list[dict[str, Any]]:
        return [row for (row,) in self.estate.sql(self.name, "SELECT to_json(h) FROM orch_history h ORDER BY version")]

    def running(self) -> bool:
        query = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(60)%'"
        return bool(self.estate.sql(self.name, query + " AND datname = current_database()"))

    def sever(self, session: Session) -> Statement:
        self.estate.sql(
            self.name,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        return Statement("SELECT 1", "SELECT 1", 0, 1, True)

    def connections(self) -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        return int(self.estate.sql(self.name, query)[0][0])


class MongoDialect(Dialect):
    creates = False
    alone = ('{"create": "made"}', '{"collMod": "nowhere", "validator": {}}', '{"dbStats": 1}')
    fill = '{"insert": "rows", "documents": [{"a": 1}]}'
    refused = ('{"insert": "rows", "documents": [{"_id": 0}]}', "11000")
    slow = (
        '{"aggregate": "rows", "cursor": {}, "pipeline": ['
        '{"$project": {"a": {"$range": [0, 1000000]}}}, {"$unwind": "$a"}, '
        '{"$project": {"b": {"$range": [0, 1000000]}}}, {"$unwind": "$b"}, {"$group": {"_id": null, "n": {"$sum": 1}}}]}'
    )
    alone_code = "26"

    @property
    def database(self) -> Any:
        return self.estate.mongo(self.name)

    def prepare(self) -> None:
        self.database["rows"].insert_one({"_id": 0})

    def rows(self) -> int:
        return int(self.database["rows"].count_documents({"_id": {"$ne": 0}}))

    def made(self) -> bool:
        return "made" in self.database.list_collection_names()

    def version_rows(self) -> list[Any]:
        return list(self.database["schema_migrations"].find({}, {"_id": 0}))

    def last_down(self) -> list[Any]:
        return [{"version": -1, "dirty": False}]

    def golang_migrate_writes(self, version: int, dirty: bool) -> None:
        self.database["schema_migrations"].insert_one({"version": version, "dirty": dirty})

    def add_field(self) -> None:
        self.database["orch_history"].update_many({}, {"$set": {"mood": "good"}})

    def remove_field(self) -> None:
        self.database["orch_history"].update_many({}, {"$unset": {"reason": "", "tool": ""}})

    def stored(self) -> list[dict[str, Any]]:
        return list(self.database["orch_history"].find().sort("version"))

    def running(self) -> bool:
        pipeline = [{"$currentOp": {"allUsers": True}}, {"$match": {"active": True}}]
        wanted = f"{self.estate.prefix}{self.name}.rows"
        return any(op.get("ns") == wanted for op in self.estate.client().admin.aggregate(pipeline))

    def sever(self, session: Session) -> Statement:
        self.estate.client().admin.command(
            {
                "configureFailPoint": "failCommand",
                "mode": {"times": 1},
                "data": {"failCommands": ["collStats"], "closeConnection": True},
            }
        )
        body = {"collStats": "rows"}
        return Statement(str(body), body, 0, 1, False)

    def connections(self) -> int:
        return 0  # a client is shared by all databases of its server


class MysqlDialect(Dialect):
    creates = True
    alone = (
        "CREATE INDEX rows_id ON `rows` (id)",
        "ALTER TABLE nowhere ADD COLUMN a int",
        "CALL nobody_knows()",
    )
    fill = "INSERT INTO `rows` VALUES (1)"
    refused = ("INSERT INTO `rows` VALUES ('many')", "1366")
    # MySQL multiplies the numbers of rows where nothing has to be compared.
    slow = (
        "SELECT count(*) FROM numbers a, numbers b, numbers c, numbers d, numbers e, numbers f "
        "WHERE a.i + b.i + c.i + d.i + e.i + f.i < 0"
    )
    alone_code = "1146"

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.estate.mysql(self.name, query, *parameters)

    def prepare(self) -> None:
        self.sql("CREATE TABLE `rows` (id int)")
        self.sql("CREATE TABLE numbers (i int)")
        self.sql("INSERT INTO numbers VALUES (1)" + ", (1)" * 99)

    def rows(self) -> int:
        return int(self.sql("SELECT count(*) FROM `rows`")[0][0])

    def made(self) -> bool:
        return bool(self.sql("SHOW INDEX FROM `rows` WHERE Key_name = 'rows_id'"))

    def version_rows(self) -> list[Any]:
        return [{"version": v, "dirty": bool(d)} for v, d in self.sql("SELECT version, dirty FROM schema_migrations")]

    def last_down(self) -> list[Any]:
        return []

    def golang_migrate_writes(self, version: int, dirty: bool) -> None:
        self.sql("CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null)")
        self.sql("INSERT INTO schema_migrations VALUES (%s, %s)", version, dirty)

    def add_field(self) -> None:
        self.sql("ALTER TABLE orch_history ADD COLUMN mood varchar(10) NOT NULL DEFAULT 'good'")

    def remove_field(self) -> None:
        self.sql("ALTER TABLE orch_history DROP COLUMN reason, DROP COLUMN tool")

    def stored(self) -> list[dict[str, Any]]:
        names = [name for (name, *_) in self.sql("SHOW COLUMNS FROM orch_history")]
        rows = self.sql("SELECT * FROM orch_history ORDER BY version")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def running(self) -> bool:
        query = "SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE %s AND DB = DATABASE()"
        return bool(self.sql(query, "SELECT count(*) FROM numbers a%"))

    def sever(self, session: Session) -> Statement:
        query = "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()"
        for (id,) in self.sql(query):
            with suppress(pymysql.err.OperationalError):  # a connection that is just being closed
                self.sql(f"KILL {id}")
        return Statement("SELECT 1", "SELECT 1", 0, 1, True)

    def connections(self) -> int:
        query = "SELECT count(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()"
        return int(self.sql(query)[0][0])


class SqliteDialect(Dialect):
    creates = True
    alone = ("PRAGMA journal_mode = wal", "VACUUM nowhere", "INSERT INTO rows VALUES (2)")
    fill = "INSERT INTO rows VALUES (1)"
    refused = ("INSERT INTO rows VALUES ('many')", "SQLITE_CONSTRAINT_CHECK")
    slow = "INSERT INTO rows WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    alone_code = "SQLITE_ERROR"

    def sql(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.estate.root / self.file, isolation_level=None, timeout=0)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, parameters)]

    @property
    def file(self) -> str:
        return f"{self.estate.prefix}{self.name}.db"

    def prepare(self) -> None:
        self.sql("CREATE TABLE rows (id int CHECK (typeof(id) = 'integer'))")

    def rows(self) -> int:
        return int(self.sql("SELECT count(*) AS n FROM rows")[0]["n"])

    def made(self) -> bool:
        return bool(self.sql("PRAGMA journal_mode")[0]["journal_mode"] == "wal")

    def version_rows(self) -> list[Any]:
        return self.sql("SELECT version, dirty FROM schema_migrations")

    def last_down(self) -> list[Any]:
        return []

    def golang_migrate_writes(self, version: int, dirty: bool) -> None:
        self.sql("CREATE TABLE IF NOT EXISTS schema_migrations (version uint64,dirty bool)")
        self.sql("CREATE UNIQUE INDEX IF NOT EXISTS version_unique ON schema_migrations (version)")
        self.sql("INSERT INTO schema_migrations (version, dirty) VALUES (?, ?)", version, dirty)

    def add_field(self) -> None:
        self.sql("ALTER TABLE orch_history ADD COLUMN mood text NOT NULL DEFAULT 'good'")

    def remove_field(self) -> None:
        self.sql("ALTER TABLE orch_history DROP COLUMN reason")
        self.sql("ALTER TABLE orch_history DROP COLUMN tool")

    def stored(self) -> list[dict[str, Any]]:
        return self.sql("SELECT * FROM orch_history ORDER BY version")

    def running(self) -> bool:
        """Whether somebody has the lock for writers."""
        try:
            self.sql("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False

    def connections(self) -> int:
        """How many descriptors this process has on the file and on what is beside it."""
        links = (link for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
        return sum(self.file in os.readlink(link) for link in links)


class FileServer:
    """What stands in the place of a server where databases are files in a directory."""

    password = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def dsn(self, name: str) -> str:
        return f"sqlite3://{self.directory}/{name}.db"


DIALECT_OF = {"postgres": PostgresDialect, "mongo": MongoDialect, "mysql": MysqlDialect, "sqlite": SqliteDialect}
FILES = "sqlite"
KINDS = [*SERVERS, FILES]


class Bench:
    """One database of one server, and engines to open sessions on it."""

    def __init__(self, estate: Estate, kind: str) -> None:
        self.kind = kind
        self.engine_name = kind if kind == FILES else SERVERS[kind][0]
        self.server: Any = FileServer(estate.root) if kind == FILES else estate.servers[self.engine_name]
        self.estate = estate
        self.dialect: Any = DIALECT_OF[self.engine_name](estate, "x")
        self.target = self.target_with(self.server.dsn("{database}"))
        self.engines: list[Engine] = []

    def target_with(self, dsn: str, name: str = "x") -> Target:
        database = Database(f"{self.engine_name}-x", self.engine_name, self.estate.prefix + name, dsn, Path())
        return resolve(database, {}, Redactor(), "orch_history")

    def engine(self, run_id: str = "run1") -> Engine:
        engine = load_engine(self.engine_name, "tester@here", run_id)
        self.engines.append(engine)
        return engine

    def ready(self) -> Engine:
        """Return an engine whose database is there, with the thing `rows`."""
        engine = self.engine()
        engine.create(self.target, CreateOptions())
        self.dialect.prepare()
        return engine

    def statement(self, engine: Engine, text: str) -> Statement:
        source = f"[{text}]" if self.engine_name == "mongo" else text
        return engine.parse(File("1_x.up", Path("1_x.up"), "sha256:0"), source).statements[0]


def opened(kind: str, tmp_path: Path) -> Iterator[Bench]:
    """Give a bench on this kind of server; close its engines and drop its databases afterwards."""
    bench = Bench(Estate(tmp_path, {} if kind == FILES else {SERVERS[kind][0]: start(kind)}), kind)
    yield bench
    for engine in bench.engines:
        engine.close()
    bench.estate.drop()


class MemoryDialect:
    """The words of the memory engine, on which most of the property tests rest."""

    alone = ("alone add made", "alone remove nothing", "blind add it")
    fill = "add rows"
    refused = ("remove nothing", "missing")
    alone_code = "missing"

    def __init__(self, store: Store) -> None:
        self.store = store

    def rows(self) -> int:
        return self.store.schema_objects["rows"]

    def made(self) -> bool:
        return self.store.schema_objects["made"] == 1

    def version_rows(self) -> list[Any]:
        version_row = self.store.version_row
        return [{"version": version_row.version, "dirty": version_row.dirty}] if version_row else []

    def last_down(self) -> list[Any]:
        return [{"version": None, "dirty": False}]

    def golang_migrate_writes(self, version: int, dirty: bool) -> None:
        self.store.version_row = VersionRow(version, dirty)


class MemoryBench:
    """What `Bench` is, for the engine without a server."""

    def __init__(self) -> None:
        self.dialect = MemoryDialect(Store())
        self.target = Target("memory-x", "memory", Secret(""), "x", "", "")

    def engine(self, run_id: str = "run1") -> Memory:
        return Memory(self.dialect.store)

    def ready(self) -> Memory:
        engine = self.engine()
        engine.create(self.target, CreateOptions())
        return engine

    def statement(self, engine: Memory, text: str) -> Statement:
        return engine.parse(File("1_x.up", Path("1_x.up"), "sha256:0"), text).statements[0]
