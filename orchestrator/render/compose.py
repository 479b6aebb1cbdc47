"""`docker-compose.multi-db.yml`: the servers, a service for each database in the order of the graph, and one for all.

With fleets there is only the one for all: members may be thousands, or not known before other databases are migrated.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from orchestrator.engines import dialect
from orchestrator.engines.dialect import ContainerLogin
from orchestrator.files.yaml_text import Flow, to_yaml
from orchestrator.model import Manifest
from orchestrator.render.fitting import check, container_of, inside, secret_file
from orchestrator.render.names import slugs
from orchestrator.render.servers import Server, servers_of, shell_default
from orchestrator.render.settings import Settings
from orchestrator.render.text import header
from orchestrator.render.volumes import volumes_of

_IMAGE_SERVICE = "migrate-image"
"""The one service that builds the image. If several services built the same image, they would disturb each other."""


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return path → text of the file; empty for a manifest without databases.

    InvalidError if containers cannot replace its servers.
    """
    if not manifest.databases:
        return {}
    servers = servers_of(manifest)
    databases = () if manifest.fleets else manifest.databases
    slug = slugs({database.id: database.id for database in databases}, 50)
    names = {id: f"migrate-{name}" for id, name in slug.items()}
    check(servers, [_IMAGE_SERVICE, "migrate-all", *names.values()], manifest)
    services: dict[str, Any] = {server.service: _server(server, settings) for server in servers if server.ours}
    services[_IMAGE_SERVICE] = {
        "image": settings.image,
        "build": _build(settings),
        "pull_policy": "build",
        "command": Flow(["--version"]),
        "restart": "no",
    }
    for database in databases:
        server = next(server for server in servers if database in server.databases)
        needs = _ready([server])
        for id in database.depends_on:
            needs[names[id]] = {"condition": "service_completed_successfully"}
        command = ["apply", "--only", database.id, "--no-deps", "--wait", "60"]
        services[names[database.id]] = _migrate(settings, command, [server], needs)
    services["migrate-all"] = {
        **({} if manifest.fleets else {"profiles": Flow(["all"])}),
        **_migrate(settings, ["apply", "--wait", "60"], list(servers), _ready(servers)),
    }
    data: dict[str, Any] = {"services": services}
    ours = [server for server in servers if server.ours]
    volumes = [*(f"{server.service}-data" for server in ours), *(volume.name for volume in volumes_of(servers))]
    if volumes:
        data["volumes"] = {name: {} for name in volumes}
    secrets = {server.password.name: {"environment": server.password.name} for server in ours if server.password.name}
    if secrets:
        data["secrets"] = secrets
    each = (
        "#   docker compose -f FILE up                                  every database, each after what it depends on\n"
        "#   docker compose -f FILE --profile all run --rm migrate-all  the same in one container"
    )
    usage = (
        "#\n"
        f"{'#   docker compose -f FILE up   all databases, in one container' if manifest.fleets else each}\n"
        "#\n"
        "# Each builds the image first, so that new migrations are in it. Passwords are read from the environment or from\n"
        "# .env, and reach the containers as secrets.\n"
    ).replace("FILE", shlex.quote(settings.files["compose"]))
    return {settings.files["compose"]: header("compose", manifest, image=settings.told_image) + usage + to_yaml(data)}


def _build(settings: Settings) -> str | dict[str, str]:
    """Return how the image is built: from the project, wherever in it compose file and Dockerfile are."""
    context = _literal(os.path.relpath(".", PurePosixPath(settings.files["compose"]).parent))
    dockerfile = _literal(os.path.normpath(settings.files["dockerfile"]))
    return context if dockerfile == "Dockerfile" else {"context": context, "dockerfile": dockerfile}


def _literal(text: str) -> str:
    """Return a text in which Compose replaces nothing: each $ doubled."""
    return text.replace("$", "$$")


def _ready(servers: Iterable[Server]) -> dict[str, Any]:
    """Return the services that must be healthy before databases on these servers are migrated."""
    needs = {_IMAGE_SERVICE: {"condition": "service_completed_successfully"}}
    return needs | {server.service: {"condition": "service_healthy"} for server in servers if server.ours}


def _migrate(settings: Settings, command: list[str], servers: list[Server], needs: dict[str, Any]) -> dict[str, Any]:
    environment: dict[str, str | None] = {}
    secrets: dict[str, None] = {}
    for server in servers:
        environment |= _environment(server)
        if server.ours and server.password.name:
            secrets[server.password.name] = None
    service: dict[str, Any] = {"image": settings.image, "pull_policy": "never", "command": Flow(map(_literal, command))}
    service["depends_on"] = needs
    if environment:
        service["environment"] = environment
    if secrets:
        service["secrets"] = list(secrets)
    if volumes := volumes_of(servers):
        service["volumes"] = [f"{volume.name}:{_literal(volume.path)}" for volume in volumes]
    return service | {"restart": "no"}


def _environment(server: Server) -> dict[str, str | None]:
    """Return the variables that the DSN template needs; a password is read from the file of its secret."""
    values = inside(server)
    if server.ours and server.password.name:
        values[f"{server.password.name}_FILE"] = values.pop(server.password.name)
    return values


def _server(server: Server, settings: Settings) -> dict[str, Any]:
    """Return the service of a server: what its engine says of a container, with image, volume, secret and port."""
    known = dialect(server.engine)
    container = container_of(server)
    login = ContainerLogin(
        server.service,
        shell_default(server.user, container.user),
        secret_file(server) if server.password.name else "",
    )
    made = container.service(login)
    check = made.pop("healthcheck")
    service: dict[str, Any] = {"image": settings.images[server.engine]}
    service |= {key: Flow(value) if isinstance(value, list) else _plain(value) for key, value in made.items()}
    service["healthcheck"] = {**check, "test": Flow(check["test"])}
    service["volumes"] = [f"{server.service}-data:{container.volume}"]
    if server.password.name:
        service["secrets"] = [server.password.name]
    outside = shell_default(server.port, known.dsn.port) if server.port.name else server.port.text or known.dsn.port
    return service | {"ports": [f"127.0.0.1:{outside}:{known.dsn.port}"]}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
