"""Estates in temporary directories to run `orch` on, and the real servers that hold their databases."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pymysql
import pytest
from hint_commands import RECORD, SITE
from old_postgres import BUILD
from psycopg import sql
from pymongo import MongoClient
from warm import Forked, Warm

from orchestrator import embedded
from orchestrator.embedded import Server
from orchestrator.embedded.mysql import Mysql

ORCH = str(Path(sys.executable).with_name("orch"))
ROOT_VARIABLE = "ORCH_TEST_SERVERS"
SOON = {"orchestrator.execution.migrator.FIRST_PAUSE": 0.05}
"""For `patches`: short pauses between tries."""
AWAY = {"orchestrator.engines.mongo.engine._SERVER_SELECTION_TIMEOUT": 1}
"""For `patches`: give up soon if a MongoDB cannot be reached."""
Figure = Callable[..., None]
Files = Mapping[str, str] | Mapping[str, bytes] | Mapping[str, str | bytes]


def _debian_postgres() -> str:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    return str(found[-1].parent) if found else ""


# Every server that the tests know: the engine, and what makes `orchestrator.embedded` take exactly it.
SERVERS: dict[str, tuple[str, dict[str, str]]] = {
    "postgres-wheel": ("postgres", {"ORCH_POSTGRES_BIN": ""}),
    "postgres-debian": ("postgres", {"ORCH_POSTGRES_BIN": _debian_postgres()}),
    "mongod": ("mongo", {"ORCH_MONGO": "mongod", "ORCH_MONGOD_TEST_COMMANDS": "1"}),
    "secantus": ("mongo", {"ORCH_MONGO": "secantus"}),
    "mariadb": ("mysql", {"ORCH_MYSQLD_BIN": os.environ.get("ORCH_MYSQLD_BIN", "")}),
}
if MAJOR := os.environ.get("ORCH_TEST_POSTGRES"):  # `make matrix` asks for one more
    SERVERS[f"postgres-{MAJOR}"] = ("postgres", {"ORCH_POSTGRES_BIN": str(BUILD / f"postgres-{MAJOR}" / "bin")})


def start(name: str) -> Server:
    """Return a running server of this kind; the first caller of the whole test run starts it."""
    engine, variables = SERVERS[name]
    if name == "postgres-debian" and not variables["ORCH_POSTGRES_BIN"]:
        pytest.skip("no PostgreSQL from Debian on this machine")
    if name == "mariadb" and not Mysql().installed():
        pytest.skip("no MariaDB or MySQL on this machine")
    with mock.patch.dict(os.environ, variables):
        return embedded.up(Path(os.environ[ROOT_VARIABLE]) / name, [engine])[engine]


@functools.cache
def _warm() -> Warm:
    """Return the process that runs the commands of this test run; it ends with the test run."""
    warm = Warm(Estate(Path(), {}).env)
    atexit.register(warm.close)
    return warm


def launch(arguments: Sequence[str], cwd: Path, env: Mapping[str, str], **streams: Any) -> subprocess.Popen[Any]:
    """Start `orch ARGUMENTS` and return at once. `streams` are stdin, stdout and stderr, all of them, and `text`."""
    if _warm().takes(env):
        return Forked(_warm(), arguments, cwd, env, **streams)
    return subprocess.Popen([ORCH, *arguments], cwd=cwd, env=env, **streams)


def piped(
    arguments: Sequence[str], cwd: Path, env: Mapping[str, str], *, text: bool = True, stdin: int = subprocess.DEVNULL
) -> subprocess.CompletedProcess[Any]:
    """Run `orch ARGUMENTS` as `subprocess.run` does; its output is not checked here."""
    streams = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": text}
    with launch(arguments, cwd, env, **streams) as process:
        try:
            out, err = process.communicate(timeout=120)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(["orch", *arguments], process.returncode, out, err)


@dataclasses.dataclass
class Result:
    """What a run of the command gave."""

    code: int
    stdout: str
    stderr: str
    pid: int

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def text(self) -> str:
        return self.stdout + self.stderr


class Estate:
    """A project directory with a manifest and migrations; its databases carry a prefix of their own on the servers."""

    def __init__(self, root: Path, servers: dict[str, Server]) -> None:
        self.root = root
        self.servers = servers
        self.prefix = f"t{secrets.token_hex(4)}_"
        self.env = {
            k: v for k, v in os.environ.items() if not k.startswith(("ORCH_", "POSTGRES_", "MONGO_", "MYSQL_", "PG"))
        }
        for server in servers.values():
            self.env[f"{server.engine.upper()}_PASSWORD"] = server.password
        if RECORD in os.environ:
            others = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one not in ("", SITE)]
            self.env["PYTHONPATH"] = os.pathsep.join([SITE, *others])

    def server(self, engine: str) -> str:
        """Return the line of the manifest that declares this engine's server."""
        template = self.servers[engine].dsn(self.prefix + "{database}")
        template = template.replace(self.servers[engine].password, "${" + engine.upper() + "_PASSWORD}")
        return f'  {engine}: {{engine: {engine}, dsn: "{template}"}}\n'

    def manifest(self, databases: str, extra: str = "") -> None:
        """Write databases.yaml; `databases` is the YAML list, one entry a line."""
        servers = "".join(self.server(engine) for engine in self.servers)
        text = f"version: 1\n{extra}servers:\n{servers}databases:\n{databases}"
        (self.root / "databases.yaml").write_text(text)
        (self.root / "migrations").mkdir(exist_ok=True)

    def write(self, directory: str, files: Files) -> None:
        """Write migration files: `write("postgres-a", {"000001_x.up.sql": "…"})`."""
        folder = self.root / "migrations" / directory / "schema"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = folder / name
            path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)

    def orch(
        self,
        *arguments: str,
        code: int | None = 0,
        env: dict[str, str] | None = None,
        timeout: float = 120,
        patches: Mapping[str, float] | None = None,
    ) -> Result:
        """Run the command in a process of its own. No output may ever hold a password or a traceback.

        `patches` are module constants to change: what takes long by itself, such as a pause.
        """
        environment = {**self.env, **(env or {})}
        warm = _warm()
        if warm.takes(environment):
            pid, ended, out, err = warm.run(arguments, self.root, environment, timeout, patches)
        else:
            assert not patches, "a new program has the constants of its files"
            with self.start(*arguments, env=env) as process:
                try:
                    out, err = process.communicate(timeout=timeout)
                except BaseException:
                    process.kill()
                    raise
            pid, ended = process.pid, process.returncode
        result = Result(ended, out, err, pid)
        assert "Traceback" not in result.text, result.text
        for server in self.servers.values():
            if arguments[:2] != ("dev", "env"):
                assert server.password not in result.text, "a password was printed"
        if code is not None:
            assert result.code == code, f"exit {result.code}, not {code}\n{result.stdout}\n{result.stderr}"
        return result

    def start(
        self,
        *arguments: str,
        env: dict[str, str] | None = None,
        start_up: bool = False,
        patches: Mapping[str, float] | None = None,
    ) -> subprocess.Popen[str]:
        """Start the command and return at once; with `start_up` as a new program, which has yet to import all it needs.

        `patches` are as those of `orch`.
        """
        environment = {**self.env, **(env or {})}
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        if start_up:
            return subprocess.Popen([ORCH, *arguments], cwd=self.root, env=environment, **streams)  # type: ignore[call-overload,no-any-return]
        return launch(arguments, self.root, environment, **streams, **({"patches": patches} if patches else {}))

    def add(self, engine: str, name: str, files: Files, **keys: object) -> None:
        """Declare a database and write its migrations; `keys` go into its entry of the manifest."""
        entries = getattr(self, "_entries", "")
        more = "".join(f", {key}: {json.dumps(value)}" for key, value in keys.items())
        self._entries = entries + f"  - {{name: {json.dumps(name)}, server: {engine}{more}}}\n"
        self.manifest(self._entries)
        self.write(f"{engine}-{name}", files)

    def snapshot(self) -> dict[str, Any]:
        """Return all that this estate has on its servers: databases, tables and collections with their content."""
        seen: dict[str, Any] = {}
        if "postgres" in self.servers:
            with psycopg.connect(self.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
                names = connection.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
            for name in (name.removeprefix(self.prefix) for (name,) in names if name.startswith(self.prefix)):
                tables = self.sql(
                    name,
                    "SELECT n.nspname, c.relname, c.relkind::text, c.relfilenode FROM pg_class c "
                    "JOIN pg_namespace n ON n.oid = relnamespace "
                    "WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1, 2",
                )
                seen[f"postgres-{name}"] = {
                    (schema, table): sorted(map(str, self.sql(name, f'SELECT t::text FROM "{schema}"."{table}" t')))
                    if kind == "r"
                    else node
                    for schema, table, kind, node in tables
                }
        if "mongo" in self.servers:
            for name in self.client().list_database_names():
                if name.startswith(self.prefix):
                    database = self.client()[name]
                    seen[f"mongo-{name.removeprefix(self.prefix)}"] = {
                        collection["name"]: (
                            str(collection),
                            sorted(map(str, database[collection["name"]].find())),
                            sorted(map(str, database[collection["name"]].list_indexes())),
                        )
                        for collection in database.list_collections()
                    }
        if "mysql" in self.servers:
            found = self.mysql("", "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY 1")
            for name in (name.removeprefix(self.prefix) for (name,) in found if name.startswith(self.prefix)):
                mine = [str(table) for (table, *_) in self.mysql(name, "SHOW TABLES")]
                seen[f"mysql-{name}"] = {
                    table: (
                        self.mysql(name, f"SHOW CREATE TABLE `{table}`"),
                        self.mysql(name, f"SELECT * FROM `{table}`"),
                    )
                    for table in mine
                    if not table.endswith("_lock")
                }
        return seen

    def version_row(self, name: str) -> list[tuple[int, bool]]:
        """Return golang-migrate's row of a PostgreSQL database."""
        return self.sql(name, "SELECT version, dirty FROM schema_migrations")

    def tables(self, name: str) -> set[str]:
        """Return the tables of a PostgreSQL database but those of the bookkeeping."""
        rows = self.sql(name, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {table for (table,) in rows} - {"schema_migrations", "orch_history"}

    def status(self, id: str) -> dict[str, Any]:
        document = self.orch("status", "--output", "json", code=None).json
        entries: dict[str, dict[str, Any]] = {entry["id"]: entry for entry in document["databases"]}
        return entries[id]

    def sql(self, name: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a query on one of this estate's PostgreSQL databases."""
        with psycopg.connect(self.servers["postgres"].dsn(self.prefix + name), autocommit=True) as connection:
            cursor = connection.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def mysql(self, name: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a query on one of this estate's MySQL databases, or without a database."""
        server = self.servers["mysql"]
        connection = pymysql.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            database=self.prefix + name if name else None,
            autocommit=True,
            ssl_disabled=True,
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, parameters or None)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def mongo(self, name: str) -> Any:
        """Return one of this estate's MongoDB databases."""
        return self.client()[self.prefix + name]

    def client(self) -> MongoClient[Any]:
        if not hasattr(self, "_client"):
            self._client: MongoClient[Any] = MongoClient(self.servers["mongo"].dsn("admin"), tz_aware=True)
        return self._client

    def drop(self) -> None:
        """Remove this estate's databases from the servers."""
        if "postgres" in self.servers:
            with psycopg.connect(self.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
                names = connection.execute("SELECT datname FROM pg_database").fetchall()
                for (name,) in names:
                    if name.startswith(self.prefix):
                        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        if "mongo" in self.servers:
            for name in self.client().list_database_names():
                if name.startswith(self.prefix):
                    self.client().drop_database(name)
            self.client().close()
        if "mysql" in self.servers:
            for (name,) in self.mysql("", "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA"):
                if name.startswith(self.prefix):
                    self.mysql("", f"DROP DATABASE `{name}`")
