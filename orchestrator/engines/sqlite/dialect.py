"""The record of SQLite. It has no server: no container, no embedded program, no login."""

from __future__ import annotations

from orchestrator.engines.dialect import Dialect, EmbeddedServers, Scaffold
from orchestrator.engines.names import too_long
from orchestrator.engines.sqlite.dsn import DSN
from orchestrator.engines.sqlite.shell import shell

_UP = """\
-- The first migration of {name}: replace this example with your own tables.
-- The file runs as one transaction, together with the record that it was applied. Do not edit it once it is applied:
-- `orch new {name} add_something` creates the next one.

CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_items_created_at ON items (created_at);
"""

_DOWN = """\
-- Undoes 000001_create_{word}_tables.up.sql. Dropping the table drops its index too.

DROP TABLE IF EXISTS items;
"""

_SERVER = """\
  sqlite:
    engine: sqlite
    # A path: relative to this file, or absolute (sqlite3:///var/lib/app/{database}.db). Its directory must be there.
    dsn: "sqlite3://{database}.db"
"""
_BESIDE = ("-journal", "-wal", "-shm")  # files that SQLite itself keeps beside a database


def _name_problem(name: str) -> str:
    if "/" in name or "\0" in name or name in (".", ".."):
        return "cannot be the name of a file"
    if name.endswith(_BESIDE):
        return "is what SQLite calls a file beside a database"
    if name.endswith("-orch-lock"):  # lock.SUFFIX: whoever migrates the database beside it empties that file
        return "is what orch calls a file beside a database"
    return too_long(name, 200)


DIALECT = Dialect(
    name="sqlite",
    title="SQLite",
    aliases=("sqlite3",),
    engine="orchestrator.engines.sqlite.engine:Sqlite",
    dsn=DSN,
    extensions=("sql",),
    error_code="{}",
    name_problem=_name_problem,
    server_databases=(),
    creates=True,
    create_options=(),
    maintenance_database=False,
    scaffold=Scaffold(
        first="create_{word}_tables",
        first_up=_UP,
        first_down=_DOWN,
        next_up="-- {description}\n\n",
        next_down="-- Undoes: {description}\n\n",
        server=_SERVER,
    ),
    dsn_variable="SQLITE_DSN",
    container=None,
    embedded=EmbeddedServers(programs=(), files="sqlite3://{directory}/sqlite/{{database}}.db"),
    client="orchestrator.engines.sqlite.client",
    squash="orchestrator.engines.sqlite.squash",
    lint_rules=("PG101", "PG102", "PG106"),  # lost data; what the others say of locks is not so here
    lint_brackets=True,
    lint_lock=("write lock", "the whole file: one writer at a time"),
    shell=shell,
    jobs_per_server=16,  # with 8, a fleet took a tenth longer (docs/performance.md)
)
