"""`docker-compose.multi-db.yml`: the servers, a service for each database in the order of the graph, and one for all."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import InvalidError
from orchestrator.model import Manifest
from orchestrator.render.names import slugs
from orchestrator.render.servers import PORTS, USERS, Server, servers_of, shell_default
from orchestrator.render.settings import Settings
from orchestrator.render.text import Flow, header, to_yaml

_CHECK = {"interval": "2s", "timeout": "5s", "retries": 60}

# The official image makes its user first on a server without replica set; the check then sets the set up, once.
_MONGO_CHECK = """\
{login}
try {{ rs.status() }} catch (error) {{
  if (error.codeName === "NotYetInitialized") {{
    rs.initiate({{_id: "rs0", members: [{{_id: 0, host: "{host}:27017"}}]}})
  }}
}}
quit(db.hello().isWritablePrimary ? 0 : 1)
"""
_MONGO_LOGIN = """\
const fs = require("fs")
const password = fs.readFileSync("/run/secrets/{secret}", "utf8").replace(/\\n$/, "")
db.getSiblingDB("admin").auth(process.env.MONGO_INITDB_ROOT_USERNAME, password)"""
# With users a replica set wants a key file that only its own user can read; a single member may make a new one each time.
_MONGO_START = """\
key=/data/configdb/replica.key
head -c 512 /dev/urandom | base64 -w 0 > $$key
chmod 400 $$key && chown mongodb:mongodb $$key
exec docker-entrypoint.sh mongod --replSet rs0 --bind_ip_all --keyFile $$key
"""


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return the file; nothing for an empty estate."""
    if not manifest.databases:
        return {}
    servers = servers_of(manifest)
    _check_shared(servers)
    names = slugs({database.id: database.id for database in manifest.databases}, 50)
    services: dict[str, Any] = {server.service: _server(server, settings) for server in servers if server.ours}
    for database in manifest.databases:
        server = next(server for server in servers if database in server.databases)
        needs = {server.service: {"condition": "service_healthy"}} if server.ours else {}
        for id in database.depends_on:
            needs[f"migrate-{names[id]}"] = {"condition": "service_completed_successfully"}
        command = ["apply", "--only", database.id, "--no-deps", "--wait", "60"]
        services[f"migrate-{names[database.id]}"] = _migrate(settings, command, [server], needs)
    everything = {server.service: {"condition": "service_healthy"} for server in servers if server.ours}
    services["migrate-all"] = {
        "profiles": Flow(["all"]),
        **_migrate(settings, ["apply", "--wait", "60"], list(servers), everything),
    }
    data: dict[str, Any] = {"services": services}
    ours = [server for server in servers if server.ours]
    if ours:
        data["volumes"] = {f"{server.service}-data": {} for server in ours}
    secrets = {_secret(server): {"environment": server.password.name} for server in ours if server.password.name}
    if secrets:
        data["secrets"] = secrets
    usage = (
        "#\n"
        "#   docker compose -f FILE up                                  every database, each after what it depends on\n"
        "#   docker compose -f FILE --profile all run --rm migrate-all  the same in one container\n"
        "#\n"
        "# Passwords are read from the environment or from .env, and reach the containers as secrets.\n"
    ).replace("FILE", settings.files["compose"])
    return {settings.files["compose"]: header("compose", manifest.path.name) + usage + to_yaml(data)}


def _migrate(settings: Settings, command: list[str], servers: list[Server], needs: dict[str, Any]) -> dict[str, Any]:
    environment: dict[str, str | None] = {}
    secrets: list[str] = []
    for server in servers:
        environment |= _environment(server)
        if server.ours and server.password.name:
            secrets.append(_secret(server))
    service: dict[str, Any] = {"image": settings.image, "build": ".", "command": Flow(command)}
    if needs:
        service["depends_on"] = needs
    if environment:
        service["environment"] = environment
    if secrets:
        service["secrets"] = secrets
    return service | {"restart": "no"}


def _environment(server: Server) -> dict[str, str | None]:
    """Return the variables that the DSN template needs; None passes one on from outside."""
    environment: dict[str, str | None] = {variable.name: None for variable in server.variables}
    if server.ours:
        places = {
            server.host.name: server.service,
            server.port.name: PORTS[server.engine],
            server.user.name: shell_default(server.user, USERS[server.engine]),
        }
        environment |= {name: value for name, value in places.items() if name}
        if server.password.name:
            del environment[server.password.name]
            environment[f"{server.password.name}_FILE"] = f"/run/secrets/{_secret(server)}"
    return environment


def _secret(server: Server) -> str:
    return f"{server.service}_password"


def _server(server: Server, settings: Settings) -> dict[str, Any]:
    make = _postgres if server.engine == "postgres" else _mongo
    service: dict[str, Any] = make(server, settings)
    if server.password.name:
        service["secrets"] = [_secret(server)]
    port = PORTS[server.engine]
    outside = shell_default(server.port, port) if server.port.name else server.port.text or port
    return service | {"ports": [f"127.0.0.1:{outside}:{port}"]}


def _postgres(server: Server, settings: Settings) -> dict[str, Any]:
    environment = {"POSTGRES_USER": shell_default(server.user, USERS["postgres"]), "POSTGRES_DB": "postgres"}
    if server.password.name:
        environment["POSTGRES_PASSWORD_FILE"] = f"/run/secrets/{_secret(server)}"
    else:
        environment["POSTGRES_HOST_AUTH_METHOD"] = "trust"
    # Over TCP: while the image prepares itself it listens on its socket alone, and is about to restart.
    test = 'pg_isready --quiet --host 127.0.0.1 --username "$$POSTGRES_USER" --dbname postgres'
    return {
        "image": settings.postgres_image,
        "environment": environment,
        "healthcheck": {"test": Flow(["CMD-SHELL", test]), **_CHECK},
        "volumes": [f"{server.service}-data:/var/lib/postgresql/data"],
    }


def _mongo(server: Server, settings: Settings) -> dict[str, Any]:
    login = _MONGO_LOGIN.format(secret=_secret(server)) if server.password.name else ""
    script = _MONGO_CHECK.format(login=login, host=server.service).lstrip()
    address = f"mongodb://{server.service}:27017/admin?directConnection=true"
    service: dict[str, Any] = {"image": settings.mongo_image}
    if server.password.name:
        service["environment"] = {
            "MONGO_INITDB_ROOT_USERNAME": shell_default(server.user, USERS["mongo"]),
            "MONGO_INITDB_ROOT_PASSWORD_FILE": f"/run/secrets/{_secret(server)}",
        }
        service["entrypoint"] = Flow(["bash", "-ec"])
        service["command"] = [_MONGO_START]
    else:
        service["command"] = Flow(["mongod", "--replSet", "rs0", "--bind_ip_all"])
    test = ["CMD", "mongosh", address, "--quiet", "--eval", script.replace("$", "$$")]
    service["healthcheck"] = {"test": test, **_CHECK}
    service["volumes"] = [f"{server.service}-data:/data/db"]
    return service


def _check_shared(servers: tuple[Server, ...]) -> None:
    """Refuse two servers whose places come from one variable: in containers they are different places."""
    owner: dict[str, Server] = {}
    for server in servers:
        if server.ours and server.host.name:
            other = owner.setdefault(server.host.name, server)
            if other is not server:
                raise InvalidError(
                    f"the servers {other.name!r} and {server.name!r} both take their host from {server.host.name}",
                    where=server.databases[0].mark,
                    hint="give each a variable of its own",
                )
