"""PostgreSQL in a container: the official image as a service of a compose file."""

from __future__ import annotations

from typing import Any

from orchestrator.engines.dialect import Container, ContainerLogin
from orchestrator.model import CreateOptions

_VOLUME = "/var/lib/postgresql"


def _service(login: ContainerLogin) -> dict[str, Any]:
    environment = {"POSTGRES_USER": login.user, "POSTGRES_DB": "postgres"}
    if login.password_file:
        environment["POSTGRES_PASSWORD_FILE"] = login.password_file
    else:
        environment["POSTGRES_HOST_AUTH_METHOD"] = "trust"
    # A directory of its own: the default of the image depends on its version (18 moved it).
    environment["PGDATA"] = f"{_VOLUME}/pgdata"
    # Over TCP: while the image initializes the server it listens on its socket only, and restarts afterwards.
    test = 'pg_isready --quiet --host 127.0.0.1 --username "$$POSTGRES_USER" --dbname postgres'
    return {
        "environment": environment,
        "healthcheck": {"test": ["CMD-SHELL", test], "interval": "2s", "timeout": "5s", "retries": 60},
    }


def _create_statement(name: str, options: CreateOptions) -> str:
    clauses = [f"CREATE DATABASE {_identifier(name)}", *_clauses(options)]
    extensions = "".join(f"CREATE EXTENSION IF NOT EXISTS {_identifier(one)};\n" for one in options.extensions)
    return " ".join(clauses) + ";\n" + (f"\\connect {_identifier(name)}\n{extensions}" if extensions else "")


def _clauses(options: CreateOptions) -> list[str]:
    clauses = []
    if options.encoding or options.locale or options.template:
        clauses.append(f"TEMPLATE {_identifier(options.template or 'template0')}")
    if options.owner:
        clauses.append(f"OWNER {_identifier(options.owner)}")
    if options.encoding:
        clauses.append(f"ENCODING {_literal(options.encoding)}")
    if options.locale:
        clauses.append(f"LOCALE {_literal(options.locale)}")
    if options.connection_limit is not None:
        clauses.append(f"CONNECTION LIMIT {options.connection_limit}")
    return clauses


def _identifier(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


CONTAINER = Container(
    image="postgres:17",
    user="postgres",
    volume=_VOLUME,
    accepts={"sslmode": ("prefer", "allow", "disable"), "channel_binding": ("prefer", "disable")},  # it has no TLS
    user_required=True,
    password_required=False,
    login_parameter="",
    logins={"POSTGRES_USER": "POSTGRES_USER", "POSTGRES_PASSWORD": "POSTGRES_PASSWORD"},
    database="POSTGRES_DB",
    service=_service,
    create_statement=_create_statement,
)
