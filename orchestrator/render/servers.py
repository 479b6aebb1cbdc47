"""What the DSN template of a server says to a renderer: which of its variables are host, port, user and password."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.errors import InvalidError
from orchestrator.manifest.template import Variable, fill, parse
from orchestrator.manifest.url import IS_URL, parse_conninfo, split
from orchestrator.model import Database, Manifest
from orchestrator.render.names import slugs

PORTS = {"postgres": "5432", "mongo": "27017"}
USERS = {"postgres": "postgres", "mongo": "root"}
_LOCAL = ("", "localhost", "127.0.0.1", "[::1]", "::1")


@dataclass(frozen=True, slots=True)
class Value:
    """A part of a DSN: text, or the variable that it is taken from."""

    text: str = ""
    variable: Variable | None = None

    @property
    def name(self) -> str:
        """The name of the variable, or nothing."""
        return self.variable.name if self.variable else ""


@dataclass(frozen=True, slots=True)
class Server:
    """A server of the manifest. `ours`: a container can take its place, because the DSN lets its host be set."""

    name: str
    service: str
    engine: str
    databases: tuple[Database, ...]
    host: Value
    port: Value
    user: Value
    password: Value
    variables: tuple[Variable, ...]
    secrets: frozenset[str]
    ours: bool


def servers_of(manifest: Manifest) -> tuple[Server, ...]:
    """Return the servers that databases are on; a database with a DSN of its own is its own server."""
    groups: dict[str, list[Database]] = {}
    for database in manifest.databases:
        groups.setdefault(database.server or database.id, []).append(database)
    services = slugs({name: name for name in groups}, 40)
    return tuple(_server(name, services[name], tuple(databases)) for name, databases in groups.items())


def _server(name: str, service: str, databases: tuple[Database, ...]) -> Server:
    first = databases[0]
    pieces = parse(first.dsn)
    variables = tuple({piece.name: piece for piece in pieces if isinstance(piece, Variable)}.values())
    host = port = user = password = Value()
    alone, secrets = False, set()
    if pieces and isinstance(pieces[0], Variable):
        secrets.add(pieces[0].name)  # a DSN by itself
    else:
        host, port, user, password, alone = _parts(first.dsn)
        secrets |= {password.name} - {""}
    ours = first.server is not None and alone and (host.variable is not None or host.text in (*_LOCAL, service))
    if ours and host.variable is None and host.text != service:
        raise InvalidError(
            f"server {name!r} is always at {host.text or 'a local socket'!r}, which a container cannot reach",
            where=first.mark,
            hint=f"let its host be set in its dsn: ${{{first.engine.upper()}_HOST:-{host.text or 'localhost'}}}",
        )
    if ours and password.text:
        raise InvalidError(
            f"the dsn of server {name!r} holds a password",
            where=first.mark,
            hint=f"take it from a variable: ${{{first.engine.upper()}_PASSWORD}}",
        )
    return Server(
        name, service, first.engine, databases, host, port, user, password, variables, frozenset(secrets), ours
    )


def _parts(dsn: str) -> tuple[Value, Value, Value, Value, bool]:
    """Return host, port, user, password, and whether the host is a single one."""
    pieces = parse(dsn)
    marks = {f"zz{number}zz": piece for number, piece in enumerate(pieces) if isinstance(piece, Variable)}
    text = fill(pieces, list(marks), "zzdatabasezz")

    def value(part: str) -> Value:
        return Value(variable=marks[part]) if part in marks else Value(part)

    if not IS_URL.match(text):
        fields = parse_conninfo(text)
        host, port, user, password = (value(fields.get(key, "")) for key in ("host", "port", "user", "password"))
        return host, port, user, password, "," not in host.text
    url = split(text)
    name, _, number = url.hosts.rpartition(":") if ":" in url.hosts.rpartition("]")[2] else (url.hosts, "", "")
    alone = "," not in url.hosts and not url.scheme.endswith("+srv")
    return value(name), value(number), value(url.user), value(url.password), alone


def shell_default(value: Value, default: str) -> str:
    """Return the value as Compose interpolates it: `${VAR:-default}`, or the text."""
    if value.variable is None:
        return (value.text or default).replace("$", "$$")
    argument = value.variable.argument if value.variable.operator == ":-" else default
    return f"${{{value.name}:-{argument.replace('$', '$$')}}}"


def all_variables(servers: tuple[Server, ...]) -> Iterator[tuple[str, bool]]:
    """Yield every variable of the manifest once, with whether it is a secret."""
    secrets = {name for server in servers for name in server.secrets}
    for name in dict.fromkeys(variable.name for server in servers for variable in server.variables):
        yield name, name in secrets
