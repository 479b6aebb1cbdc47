"""`docker-compose.multi-db.yml`: the servers, a service for each database in the order of the graph, and one for all."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from orchestrator.model import Manifest
from orchestrator.render.fitting import REPLICA_SET, check, inside, secret_file
from orchestrator.render.names import slugs
from orchestrator.render.servers import PORTS, USERS, Server, servers_of, shell_default
from orchestrator.render.settings import Settings
from orchestrator.render.text import Flow, header, to_yaml

IMAGE_SERVICE = "migrate-image"
"""The one service that builds the image: several that build the same one get into each other's way."""

_POSTGRES_VOLUME = "/var/lib/postgresql"
_CHECK = {"interval": "2s", "timeout": "5s", "retries": 60}
# mongosh takes a second of a core to start. A check that sets the set up waits for its primary, so that one is enough.
_MONGO_CHECKS = {"interval": "10s", "timeout": "20s", "retries": 12}

# The official image makes its user first on a server without replica set; the check then sets the set up, once.
# In one line without a single quote: it stands in a shell command, and some programs split a command at its line ends.
_MONGO_CHECK = (
    "{login}try {{ rs.status() }} catch (error) {{ "
    'if (error.codeName === "NotYetInitialized") {{ '
    'rs.initiate({{_id: "{set}", members: [{{_id: 0, host: "{host}:27017"}}]}}); '
    "for (let i = 0; i < 100 && !db.hello().isWritablePrimary; i++) sleep(100) }} }}; "
    "quit(db.hello().isWritablePrimary ? 0 : 1)"
)
_MONGO_LOGIN = (
    'const password = require("fs").readFileSync("{file}", "utf8").replace(/\\n$/, ""); '
    'db.getSiblingDB("admin").auth(process.env.MONGO_INITDB_ROOT_USERNAME, password); '
)
# With users a replica set wants a key file that only its own user can read; a single member may make a new one each time.
_MONGO_START = f"""\
key=/data/configdb/replica.key
head -c 512 /dev/urandom | base64 -w 0 > $$key
chmod 400 $$key && chown mongodb:mongodb $$key
exec docker-entrypoint.sh mongod --replSet {REPLICA_SET} --bind_ip_all --keyFile $$key
"""


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return the file; nothing for an empty estate. InvalidError where containers cannot be what the manifest says."""
    if not manifest.databases:
        return {}
    servers = servers_of(manifest)
    slug = slugs({database.id: database.id for database in manifest.databases}, 50)
    names = {id: f"migrate-{name}" for id, name in slug.items()}
    check(servers, [IMAGE_SERVICE, "migrate-all", *names.values()])
    services: dict[str, Any] = {server.service: _server(server, settings) for server in servers if server.ours}
    services[IMAGE_SERVICE] = {
        "image": settings.image,
        "build": _build(settings),
        "pull_policy": "build",
        "command": Flow(["--version"]),
        "restart": "no",
    }
    for database in manifest.databases:
        server = next(server for server in servers if database in server.databases)
        needs = _ready([server])
        for id in database.depends_on:
            needs[names[id]] = {"condition": "service_completed_successfully"}
        command = ["apply", "--only", database.id, "--no-deps", "--wait", "60"]
        services[names[database.id]] = _migrate(settings, command, [server], needs)
    services["migrate-all"] = {
        "profiles": Flow(["all"]),
        **_migrate(settings, ["apply", "--wait", "60"], list(servers), _ready(servers)),
    }
    data: dict[str, Any] = {"services": services}
    ours = [server for server in servers if server.ours]
    if ours:
        data["volumes"] = {f"{server.service}-data": {} for server in ours}
    secrets = {server.password.name: {"environment": server.password.name} for server in ours if server.password.name}
    if secrets:
        data["secrets"] = secrets
    usage = (
        "#\n"
        "#   docker compose -f FILE up                                  every database, each after what it depends on\n"
        "#   docker compose -f FILE --profile all run --rm migrate-all  the same in one container\n"
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
    """Return a text so that Compose leaves it as it is: it replaces $NAME and ${NAME}, and reads $$ as $."""
    return text.replace("$", "$$")


def _ready(servers: Iterable[Server]) -> dict[str, Any]:
    """Return what has to be there before anything can be migrated on these servers."""
    needs = {IMAGE_SERVICE: {"condition": "service_completed_successfully"}}
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
    return service | {"restart": "no"}


def _environment(server: Server) -> dict[str, str | None]:
    """Return the variables that the DSN template needs; a password is read from the file of its secret."""
    values = inside(server)
    if server.ours and server.password.name:
        values[f"{server.password.name}_FILE"] = values.pop(server.password.name)
    return values


def _server(server: Server, settings: Settings) -> dict[str, Any]:
    make = _postgres if server.engine == "postgres" else _mongo
    service: dict[str, Any] = make(server, settings)
    if server.password.name:
        service["secrets"] = [server.password.name]
    port = PORTS[server.engine]
    outside = shell_default(server.port, port) if server.port.name else server.port.text or port
    return service | {"ports": [f"127.0.0.1:{outside}:{port}"]}


def _postgres(server: Server, settings: Settings) -> dict[str, Any]:
    environment = {"POSTGRES_USER": shell_default(server.user, USERS["postgres"]), "POSTGRES_DB": "postgres"}
    if server.password.name:
        environment["POSTGRES_PASSWORD_FILE"] = secret_file(server)
    else:
        environment["POSTGRES_HOST_AUTH_METHOD"] = "trust"
    # In a directory of its own, because where the image has it by itself depends on the version (18 moved it).
    environment["PGDATA"] = f"{_POSTGRES_VOLUME}/pgdata"
    # Over TCP: while the image prepares itself it listens on its socket alone, and is about to restart.
    test = 'pg_isready --quiet --host 127.0.0.1 --username "$$POSTGRES_USER" --dbname postgres'
    return {
        "image": settings.postgres_image,
        "environment": environment,
        "healthcheck": {"test": Flow(["CMD-SHELL", test]), **_CHECK},
        "volumes": [f"{server.service}-data:{_POSTGRES_VOLUME}"],
    }


def _mongo(server: Server, settings: Settings) -> dict[str, Any]:
    login = _MONGO_LOGIN.format(file=secret_file(server)) if server.password.name else ""
    script = _MONGO_CHECK.format(login=login, set=REPLICA_SET, host=server.service)
    address = f"mongodb://{server.service}:27017/admin?directConnection=true"
    service: dict[str, Any] = {"image": settings.mongo_image}
    if server.password.name:
        service["environment"] = {
            "MONGO_INITDB_ROOT_USERNAME": shell_default(server.user, USERS["mongo"]),
            "MONGO_INITDB_ROOT_PASSWORD_FILE": secret_file(server),
        }
        service["entrypoint"] = Flow(["bash", "-ec"])
        service["command"] = [_MONGO_START]
    else:
        service["command"] = Flow(["mongod", "--replSet", REPLICA_SET, "--bind_ip_all"])
    test = f"mongosh --quiet '{address}' --eval '{script}'"
    service["healthcheck"] = {"test": Flow(["CMD-SHELL", _literal(test)]), **_MONGO_CHECKS}
    service["volumes"] = [f"{server.service}-data:/data/db"]
    return service
