"""What MySQL and MariaDB are, without their driver."""

from __future__ import annotations

import re

from orchestrator.engines.dialect import Dialect, EmbeddedServers, Scaffold, ShellCall
from orchestrator.engines.mysql.container import CONTAINER
from orchestrator.engines.mysql.dsn import DSN

_UP = """\
-- The first migration of {name}: replace this example with your own tables.
-- MySQL commits each statement that changes tables by itself: one such statement a file is the safest.
-- Do not edit the file once it is applied: `orch new {name} add_something` creates the next one.

CREATE TABLE items (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(255) NOT NULL UNIQUE,
    created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY idx_items_created_at (created_at)
);
"""

_DOWN = """\
-- Undoes 000001_create_{word}_tables.up.sql. Dropping the table drops its indexes too.

DROP TABLE IF EXISTS items;
"""

_SERVER = """\
  mysql:
    engine: mysql
    dsn: "mysql://${MYSQL_USER}:${MYSQL_PASSWORD}@tcp(${MYSQL_HOST:-localhost}:${MYSQL_PORT:-3306})/{database}"
"""


def _name_problem(name: str) -> str:
    if len(name) > 64:
        return "is longer than 64 characters, the most that MySQL allows"
    if re.search(r"[/\\.?@()`\0]", name):
        return "holds a character that cannot be in the name of a MySQL database, or in its DSN"
    if name.endswith(" "):
        return "ends with a space"
    if odd := next((mark for mark in name if mark > "\uffff"), ""):
        return f"holds {odd!r}, and MySQL allows no character above U+FFFF in a name"
    return ""


def _shell(url: str) -> ShellCall:
    from orchestrator.engines.mysql.shell import shell

    return shell(url)


DIALECT = Dialect(
    name="mysql",
    title="MySQL",
    aliases=("mariadb", "maria"),
    engine="orchestrator.engines.mysql.engine:Mysql",
    dsn=DSN,
    extensions=("sql",),
    name_problem=_name_problem,
    server_databases=("mysql", "information_schema", "performance_schema", "sys"),
    creates=True,
    create_options=("encoding", "collation"),
    maintenance_database=False,
    scaffold=Scaffold(
        first="create_{word}_tables",
        first_up=_UP,
        first_down=_DOWN,
        next_up="-- {description}\n\n",
        next_down="-- Undoes: {description}\n\n",
        server=_SERVER,
    ),
    dsn_variable="MYSQL_DSN",
    container=CONTAINER,
    embedded=EmbeddedServers(
        programs=("orchestrator.embedded.mysql:Mysql",),
        address="tcp({host}:{port})",
        package="mariadb-server-core",
        binary="mariadbd",
    ),
    client="orchestrator.engines.mysql.client",
    extra="mysql",
    lint_rules=("MY",),
    squash="orchestrator.engines.mysql.squash",
    error_code="error {}",
    slow_drop=True,
    shell=_shell,
    jobs_per_server=4,  # with 8, the DDL of MariaDB with fsync took nearly twice as long (docs/engines.md)
)
