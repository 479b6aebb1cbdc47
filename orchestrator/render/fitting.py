"""Check whether containers can replace the servers of a manifest; refuse before anything is rendered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.engines import dialect
from orchestrator.engines.dialect import Container
from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.hints import Command, Hint
from orchestrator.model import Manifest
from orchestrator.render.servers import Server, shell_default
from orchestrator.render.volumes import volume_of, without_volume

_CONTAINERS = ("compose", "k8s", "argo")
"""The targets that run migrations in containers of their own."""


def inside(server: Server) -> dict[str, str | None]:
    """Return the values that the variables of a server's DSN have in a container; None for the value that they have outside."""
    values: dict[str, str | None] = {variable.name: None for variable in server.variables}
    if server.ours:
        known, container = dialect(server.engine), container_of(server)
        has = container.accepts
        values |= {value.name: has[key][0] for key, value in server.parameters.items() if key in has}
        values[server.host.name] = server.service
        values[server.port.name] = known.dsn.port
        values[server.user.name] = shell_default(server.user, container.user)
        values[server.password.name] = secret_file(server)
    if volume := volume_of(server):
        values |= volume.variables
    return {name: value for name, value in values.items() if name}


_OTHERS = "; and render the others from a manifest of their own"


def container_of(server: Server) -> Container:
    """Return the container record of a server's engine; InvalidError if its databases are files."""
    if container := dialect(server.engine).container:
        return container
    raise _error(
        server, f"{server.databases[0].id} is a file, which no container can be", "take it out of this manifest"
    )


def refuse_files(target: str, manifest: Manifest, *, mounts: bool) -> None:
    """Refuse databases that containers cannot migrate. InvalidGroup.

    Those that are files: a container would write them into itself, and lose them; `mounts`: it has volumes, as those of
    Compose have. Those that need a database of another manifest: it is not in the image.
    """
    if target not in _CONTAINERS:
        return
    InvalidGroup.raise_if(
        InvalidError(
            f"{database.id} needs a database of {external.manifest}, which a container of {target} does not have",
            where=external.mark,
            hint=Hint("migrate it where both manifests are, as in a pipeline: ", Command("apply"), _OTHERS),
        )
        for database in manifest.databases
        for external in database.external
    )
    if mounts or target == "compose":
        return
    hint = Hint("migrate it where the file is: ", Command("apply"), _OTHERS)
    hint = "mount the volume that holds it: render: {k8s: {pod: {volumes: […], volumeMounts: […]}}}; or " + hint
    InvalidGroup.raise_if(
        InvalidError(
            f"{database.id} is a file, and a container of {target} would write it into itself and lose it at its end",
            where=database.mark,
            hint=hint,
        )
        for database in manifest.databases
        if dialect(database.engine).container is None
    )


def secret_file(server: Server) -> str:
    """Return where a container finds the password of a server."""
    return f"/run/secrets/{server.password.name}"


def check(servers: Sequence[Server], others: Sequence[str], manifest: Manifest) -> None:
    """Refuse servers that no container can replace; `others` are names of other services. InvalidError or InvalidGroup."""
    InvalidGroup.raise_if(without_volume(servers, manifest))
    ours = [server for server in servers if server.ours]
    errors = [error for server in ours for error in _alone(server)]
    for server in ours:
        if server.service in others:
            what = f"the server {server.name!r} and a service that migrates would both be called {server.service!r}"
            errors.append(_error(server, what, "give the server another name"))
    InvalidGroup.raise_if([*errors, *_ports(ours), *_variables(servers)])


def published(server: Server) -> str:
    """Return the port of this machine at which a server is published, unless a variable sets another one."""
    variable = server.port.variable
    given = variable.argument if variable and variable.operator == ":-" else server.port.text
    return given or dialect(server.engine).dsn.port


def _alone(server: Server) -> Iterator[InvalidError]:
    known = dialect(server.engine)
    container = container_of(server)
    about, prefix, port = f"the server {server.name!r}", server.engine.upper(), known.dsn.port
    if not server.host.name and server.host.text != server.service:
        place = server.host.text or "a local socket"
        hint = f"let its host be set in its dsn: ${{{prefix}_HOST:-{server.host.text or 'localhost'}}}"
        yield _error(server, f"{about} is always at {place!r}, which a container cannot reach", hint)
    if server.password.text:
        hint = f"take it from a variable: ${{{prefix}_PASSWORD}}"
        yield _error(server, f"the dsn of server {server.name!r} holds a password", hint)
    if server.port.text not in ("", port):
        hint = f"let it be set in its dsn: ${{{prefix}_PORT:-{server.port.text}}}"
        yield _error(server, f"{about} is always at port {server.port.text}; its container listens at {port}", hint)
    user, password = (bool(value.name or value.text) for value in (server.user, server.password))
    if not user and (password or container.user_required):
        hint = f"name one in its dsn: ${{{prefix}_USER:-{container.user}}}"
        yield _error(server, f"the dsn of server {server.name!r} names no user", hint)
    if user and not password and container.password_required:
        hint = f"take it from a variable: ${{{prefix}_PASSWORD}}"
        yield _error(server, f"the dsn of server {server.name!r} has a user and no password", hint)
    needed = container.login_parameter
    if user and needed and needed.lower() not in server.parameters:
        usual = container.accepts[needed.lower()][0]
        what = f"the dsn of server {server.name!r} has no {needed}; the user of a container needs {needed}={usual}"
        yield _error(server, what, f"add {needed}={usual} to its dsn")
    for key, has in container.accepts.items():
        value = server.parameters.get(key)
        if value and value.text and value.text not in has:
            what = f"the dsn of server {server.name!r} always has {key}={value.text}, and a container has {has[0]}"
            hint = f"let it be set: {key}=${{{prefix}_{key.upper()}:-{value.text}}}"
            yield _error(server, what, hint)


def _ports(servers: Sequence[Server]) -> Iterator[InvalidError]:
    owners: dict[str, Server] = {}
    for server in servers:
        port = published(server)
        other = owners.setdefault(port, server)
        if other is not server:
            what = f"the servers {other.name!r} and {server.name!r} would both be published at port {port}"
            free = f"{int(port) + len(owners)}" if port.isdecimal() else dialect(server.engine).dsn.port
            variable = server.port.name or f"{server.engine.upper()}_PORT"
            if variable == other.port.name:
                variable += "_2"
            yield _error(server, what, f"give one another in its dsn: ${{{variable}:-{free}}}")


def _variables(servers: Sequence[Server]) -> Iterator[InvalidError]:
    """Yield the variables that would need two values in one container for all servers."""
    owners: dict[str, tuple[Server, str | None]] = {}
    for server in servers:
        for name, value in inside(server).items():
            other, known = owners.setdefault(name, (server, value))
            if known != value:
                what = f"{name} would have to be another for the server {other.name!r} than for {server.name!r}"
                yield _error(server, what, "give each a variable of its own in its dsn")


def _error(server: Server, what: str, hint: str) -> InvalidError:
    return InvalidError(what, where=server.databases[0].mark, hint=hint)
