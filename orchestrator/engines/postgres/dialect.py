"""The record of PostgreSQL, without its driver."""

from __future__ import annotations

from orchestrator.engines.dialect import Dialect, EmbeddedServers, Scaffold, ShellCall
from orchestrator.engines.names import too_long
from orchestrator.engines.postgres.container import CONTAINER
from orchestrator.engines.postgres.dsn import DSN

_UP = """\
-- The first migration of {name}: replace this example with your own tables.
-- The file runs as one transaction, together with the record that it was applied. Do not edit it once it is applied:
-- `orch new {name} add_something` creates the next one.

CREATE TABLE items (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX idx_items_created_at ON items (created_at);
"""

_DOWN = """\
-- Undoes 000001_create_{word}_tables.up.sql. Dropping the table drops its index too.

DROP TABLE IF EXISTS items;
"""

_SERVER = """\
  postgres:
    engine: postgres
    dsn: "postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@${POSTGRES_HOST:-localhost}:${POSTGRES_PORT:-5432}/{database}?sslmode=${POSTGRES_SSLMODE:-prefer}"
"""


def _name_problem(name: str) -> str:
    return too_long(name, 63)  # NAMEDATALEN - 1


def _shell(url: str) -> ShellCall:
    from orchestrator.engines.postgres.shell import shell

    return shell(url)


DIALECT = Dialect(
    name="postgres",
    title="PostgreSQL",
    aliases=("postgresql", "pg", "psql", "pgsql"),
    engine="orchestrator.engines.postgres.engine:Postgres",
    dsn=DSN,
    extensions=("sql",),
    name_problem=_name_problem,
    server_databases=("postgres", "template0", "template1"),
    creates=True,
    create_options=(
        "owner",
        "encoding",
        "locale",
        "template",
        "extensions",
        "connection_limit",
        "maintenance_database",
    ),
    maintenance_database=True,
    scaffold=Scaffold(
        first="create_{word}_tables",
        first_up=_UP,
        first_down=_DOWN,
        next_up="-- {description}\n\n",
        next_down="-- Undoes: {description}\n\n",
        server=_SERVER,
    ),
    dsn_variable="POSTGRES_DSN",
    squash="orchestrator.engines.postgres.squash",
    dump="orchestrator.engines.postgres.dump",
    container=CONTAINER,
    embedded=EmbeddedServers(
        programs=("orchestrator.embedded.postgres:Postgres",),
        query="sslmode=disable",
        variables={"POSTGRES_SSLMODE": "disable"},  # it has no certificate, and asking for TLS costs a round trip
    ),
    client="orchestrator.engines.postgres.client",
    lint_rules=("PG",),
    lint_versions=(12, 18),
    set_local=True,
    error_code="SQLSTATE {}",
    tracer="orchestrator.engines.postgres.tracing",
    sizes="orchestrator.engines.postgres.sizes",
    shell=_shell,
    templates=True,
)
