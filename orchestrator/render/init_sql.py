"""CREATE DATABASE statements for the init directory of a server's image. `orch apply` does not need them."""

from __future__ import annotations

from pathlib import PurePosixPath

from orchestrator.engines import dialects
from orchestrator.manifest.template import Literal, Variable, parse
from orchestrator.model import Database, Manifest
from orchestrator.render.servers import servers_of
from orchestrator.render.settings import Settings
from orchestrator.render.text import header


def _name(database: Database) -> str:
    """Return the name of a database on its server; '' where a variable or a query tells it: only `orch apply` creates it."""
    if database.stands_for_all:
        return ""
    pieces = parse(database.database)
    if any(isinstance(piece, Variable) for piece in pieces):
        return ""
    return "".join(piece.text for piece in pieces if isinstance(piece, Literal)) or database.name


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return one file for each server whose image has an init directory; with a single one it has the plain name."""
    creates = {one.name: one.container.create_statement for one in dialects() if one.container}
    servers = [server for server in servers_of(manifest) if creates.get(server.engine)]
    path = PurePosixPath(settings.files["init-sql"])
    top = header("init-sql", manifest, "--")
    files = {}
    for server in servers:
        file = path if len(servers) == 1 else path.with_stem(f"{path.stem}-{server.service}")
        create = creates[server.engine]
        known = [(name, one.create) for one in server.databases if (name := _name(one))]
        files[str(file)] = top + "".join(create(name, options) for name, options in known if create)
    return files
