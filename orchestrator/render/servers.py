"""Find the variables for host, port, user and password in the DSN template of a server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.engines import dialect
from orchestrator.manifest.dsn import variables_of
from orchestrator.manifest.template import Variable, columns_in, fill, parse
from orchestrator.model import Database, Manifest
from orchestrator.render.names import slugs

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
    """A server of the manifest. `ours`: a container can take its place, because the DSN lets its host be set.

    `parameters` are the other keys of the DSN, in lower case.
    """

    name: str
    service: str
    engine: str
    databases: tuple[Database, ...]
    host: Value
    port: Value
    user: Value
    password: Value
    parameters: Mapping[str, Value]
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
    pieces = parse(first.dsn, columns_in(first.dsn))
    variables = tuple({one.name: one for database in databases for one in variables_of(database)}.values())
    parts, alone, secrets = dict[str, Value](), False, set()
    if pieces and isinstance(pieces[0], Variable):
        secrets.add(pieces[0].name)  # a DSN by itself
    else:
        parts, alone = _parts(first.dsn, first.engine)
    host, port, user, password = (parts.pop(key, Value()) for key in ("host", "port", "user", "password"))
    secrets |= {password.name} - {""}
    ours = first.server is not None and alone and (host.variable is not None or host.text in (*_LOCAL, service))
    return Server(
        name,
        service,
        first.engine,
        databases,
        host,
        port,
        user,
        password,
        parts,
        variables,
        frozenset(secrets),
        ours,
    )


def _parts(dsn: str, engine: str) -> tuple[dict[str, Value], bool]:
    """Return host, port, user, password and the parameters, and whether the host is a single one."""
    columns = columns_in(dsn)
    pieces = parse(dsn, columns)
    marks = {f"zz{number}zz": piece for number, piece in enumerate(pieces) if isinstance(piece, Variable)}
    filled = fill(pieces, list(marks), "zzdatabasezz", engine, dict.fromkeys(columns, "zzcolumnzz"))
    fields, alone = dialect(engine).dsn.parts(filled)

    def value(part: str) -> Value:
        if part in marks:
            return Value(variable=marks[part])
        return Value(re.sub(r"zz\d+zz", lambda mark: f"${{{marks[mark[0]].name}}}", part))

    return {key: value(part) for key, part in fields.items()}, alone


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
