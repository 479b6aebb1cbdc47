"""CREATE DATABASE statements for the init directory of a PostgreSQL image. `orch apply` does not need them."""

from __future__ import annotations

from pathlib import PurePosixPath

from orchestrator.model import CreateOptions, Database, Manifest
from orchestrator.render.servers import servers_of
from orchestrator.render.settings import Settings
from orchestrator.render.text import header


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return one file for each PostgreSQL server; with a single one it has the plain name."""
    servers = [server for server in servers_of(manifest) if server.engine == "postgres"]
    path = PurePosixPath(settings.files["init-sql"])
    top = header("init-sql", manifest, "--")
    files = {}
    for server in servers:
        name = path if len(servers) == 1 else path.with_stem(f"{path.stem}-{server.service}")
        files[str(name)] = top + "".join(map(_create, server.databases))
    return files


def _create(database: Database) -> str:
    options, name = database.create, _identifier(database.name)
    clauses = [f"CREATE DATABASE {name}", *_clauses(options)]
    extensions = "".join(f"CREATE EXTENSION IF NOT EXISTS {_identifier(one)};\n" for one in options.extensions)
    return " ".join(clauses) + ";\n" + (f"\\connect {name}\n{extensions}" if extensions else "")


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
