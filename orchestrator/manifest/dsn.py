"""Resolve a DSN template and the environment to a target. Uses no driver and no DNS."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from orchestrator.engines import dialect
from orchestrator.engines.url import HOLE, Address, DsnError
from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.hints import EMBEDDED
from orchestrator.manifest.names import name_problem
from orchestrator.manifest.redact import Redactor
from orchestrator.manifest.template import (
    Column,
    DatabaseName,
    Literal,
    Piece,
    Variable,
    columns_in,
    fill,
    parse,
    parse_override,
)
from orchestrator.manifest.variables import UnsetError, look_up, read_env_file, value_of
from orchestrator.model import Database, Target
from orchestrator.patterns import regex
from orchestrator.phrases import some
from orchestrator.secret import Secret

__all__ = [
    "Redactor",
    "check_distinct",
    "check_name_template",
    "check_overrides",
    "check_template",
    "override_variable",
    "read_address",
    "read_env_file",
    "resolve",
    "resolve_all",
    "variables_of",
]


def resolve(database: Database, env: Mapping[str, str], redactor: Redactor, history_name: str) -> Target:
    """Return where the database is; the same as `resolve_all` of it alone."""
    return resolve_all([database], env, redactor, history_name)[database.id]


def resolve_all(
    databases: Iterable[Database],
    env: Mapping[str, str],
    redactor: Redactor,
    history_name: str,
    base: Path | None = None,
) -> dict[str, Target]:
    """Return where the databases are; `redactor` learns every secret on the way.

    `base` is the directory of the manifest.
    `ORCH_DSN_{ID}` in `env`, a plain DSN, wins over the template. InvalidError (or a group of them) that names the
    databases and what is unset or malformed, never a value. What is wrong with many databases is told once.
    """
    targets: dict[str, Target] = {}
    faults: dict[tuple[str, str], list[Database]] = {}
    unset: dict[tuple[str, ...], list[Database]] = {}
    for database in databases:
        try:
            address = _address(database, env, base)
        except _FaultsError as found:
            if found.unset:
                unset.setdefault(found.unset, []).append(database)
            for fault in found.faults:
                faults.setdefault((fault.what, fault.hint), []).append(database)
            continue
        redactor.add(*address.secrets)
        targets[database.id] = Target(
            database_id=database.id,
            engine=database.engine,
            url=Secret(address.url),
            database=address.database,
            endpoint=address.endpoint,
            server_key=Secret(address.server_key).id,
            parameters=address.parameters,
            history_name=history_name,
            maintenance_database=database.create.maintenance_database,
        )
    InvalidGroup.raise_if(
        [
            *(_unset(names, meant) for names, meant in unset.items()),
            *(
                InvalidError(f"{_named(meant)}: {what}", where=meant[0].mark, hint=hint)
                for (what, hint), meant in faults.items()
            ),
        ]
    )
    return targets


class _FaultsError(Exception):
    """All that is wrong with one database's DSN."""

    def __init__(self, faults: Iterable[DsnError], unset: Iterable[str] = ()) -> None:
        super().__init__()
        self.faults = tuple(faults)
        self.unset = tuple(dict.fromkeys(unset))


def _address(database: Database, env: Mapping[str, str], base: Path | None) -> Address:
    variable = override_variable(database.id)
    about = ""
    try:
        override = look_up(variable, env)
        pieces = parse_override(override) if override else parse(database.dsn, tuple(database.columns))
        name = _real_name(database, env) if any(isinstance(piece, DatabaseName) for piece in pieces) else ""
        about = f"{variable}: " if override else ""
        values = _values(pieces, env)
        text = fill(pieces, values, name, database.engine, database.columns)
        address = read_address(text, database.engine, base=base)
        if database.fleet and address.database.lower() in dialect(database.engine).server_databases:
            _refuse_server_database(database, address, pieces, values)
    except DsnError as fault:
        raise _FaultsError([DsnError(about + fault.what, fault.hint)]) from None
    return address


def _refuse_server_database(
    database: Database, address: Address, pieces: Sequence[Piece], values: Sequence[str]
) -> None:
    """Raise DsnError if the value of a member makes it a database of the server itself. Schemas in one may be members."""
    if any(isinstance(piece, DatabaseName) for piece in pieces):
        by_value = not database.database or bool(columns_in(database.database))
    else:
        others = {name: f"{value}x" for name, value in database.columns.items()}
        other = dialect(database.engine).dsn.read(fill(pieces, values, "", database.engine, others))
        by_value = other.database != address.database
    if by_value:
        raise DsnError(
            f"{address.database!r} belongs to the server itself, and cannot be a member of a fleet",
            "remove it from the source of the fleet, or put something before the column, as in tenant_{tenant}",
        )


def _real_name(database: Database, env: Mapping[str, str]) -> str:
    """Return what stands for `{database}` in the DSN: the name in the manifest, or its `database` with all variables."""
    if not database.database:
        return database.name
    pieces = parse(database.database, tuple(database.columns))
    values = iter(_values(pieces, env))
    name = "".join(
        next(values)
        if isinstance(piece, Variable)
        else database.columns[piece.name]
        if isinstance(piece, Column)
        else piece.text
        for piece in pieces
        if not isinstance(piece, DatabaseName)
    )
    if problem := name_problem(database.engine, name):
        raise DsnError(f"its 'database' is {name!r}, which {problem}")
    return name


def variables_of(database: Database) -> tuple[Variable, ...]:
    """Return the variables that its DSN and its name on the server need, each once, in order; DsnError if malformed."""
    pieces = (
        *parse(database.dsn, columns_in(database.dsn)),
        *parse(database.database, columns_in(database.database)),
    )
    return tuple({piece.name: piece for piece in pieces if isinstance(piece, Variable)}.values())


def check_name_template(template: str, dsn: str, columns: tuple[str, ...] = ()) -> None:
    """Raise DsnError if `template` cannot be the name of a database on its server: malformed, or the DSN has no place for it."""
    if any(isinstance(piece, DatabaseName) for piece in parse(template, columns)):
        raise DsnError("'database' cannot hold {database}", "write the name, with ${VAR} where it differs")
    if not any(isinstance(piece, DatabaseName) for piece in parse(dsn, columns)):
        raise DsnError("'database' has no effect: the dsn holds no {database}", "end the dsn with /{database}")


def _values(pieces: Sequence[Piece], env: Mapping[str, str]) -> list[str]:
    """Return a value for each variable; all that are wrong at once."""
    values: list[str] = []
    unset: list[str] = []
    faults: list[DsnError] = []
    for piece in pieces:
        if isinstance(piece, Variable):
            try:
                values.append(value_of(piece, env))
            except UnsetError as error:
                unset.append(error.name)
            except DsnError as fault:
                faults.append(fault)
    if unset or faults:
        raise _FaultsError(faults, unset)
    return values


def _named(databases: Sequence[Database]) -> str:
    if len(databases) == 1:
        return f"database {databases[0].id!r}"
    return f"{len(databases)} databases ({some([database.id for database in databases])})"


def _unset(names: tuple[str, ...], databases: Sequence[Database]) -> InvalidError:
    one, alone = len(databases) == 1, len(names) == 1
    override = f", or {override_variable(databases[0].id)}" if one else ""
    return InvalidError(
        f"{_named(databases)} need{'s' if one else ''} {_all_of(names)}, which {'is' if alone else 'are'} not set",
        where=databases[0].mark,
        hint=f"set {'it' if alone else 'them'}, or {_all_of([f'{name}_FILE' for name in names])} to "
        f"{'a file that holds it' if alone else 'files that hold them'}{override}; or write them to .env "
        "beside the manifest, or to a file for --env-file; "
        f"or use embedded servers: {EMBEDDED}",
    )


def _all_of(words: Sequence[str]) -> str:
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), *words[-1:]])


def override_variable(id: str) -> str:
    """Return the name of the variable that overrides this database's DSN: ORCH_DSN_POSTGRES_ORDER."""
    return "ORCH_DSN_" + re.sub(r"[^A-Z0-9]", "_", id.upper())


def check_overrides(databases: Sequence[Database], env: Mapping[str, str]) -> None:
    """Raise InvalidError if a variable `ORCH_DSN_…` (or its `_FILE`) is set and means more than one database."""
    owners: dict[str, list[Database]] = {}
    for database in databases:
        variable = override_variable(database.id)
        for name in (variable, f"{variable}_FILE"):
            owners.setdefault(name, []).append(database)
    InvalidGroup.raise_if(
        InvalidError(
            f"{name} is set, and means several databases: {', '.join(database.id for database in meant)}",
            where=meant[-1].mark,
            hint="give each a variable of its own in its dsn instead",
        )
        for name, meant in owners.items()
        if len(meant) > 1 and env.get(name)
    )


def check_distinct(databases: Sequence[Database], targets: Mapping[str, Target]) -> Iterator[InvalidError]:
    """Yield an error for each database that is the same one on the same server as another.

    Only what the DSNs say is compared: a server under two names (localhost and 127.0.0.1) is taken for two. Schemas of
    one PostgreSQL database may be entries of their own, each with its search_path in `options`, and so may several sets
    of migrations in one database, each with its own version table.
    """
    first: dict[tuple[str, frozenset[str], str, str], Database] = {}
    lower: dict[tuple[str, frozenset[str], str], Database] = {}
    for database in databases:
        if target := targets.get(database.id):
            hosts = frozenset(host if "/" in host else host.lower() for host in target.endpoint.split(","))
            if dialect(target.engine).one_case:
                other = lower.setdefault((target.engine, hosts, target.database.lower()), database)
                if targets[other.id].database != target.database:
                    yield InvalidError(
                        f"{database.id} and {other.id} have names that differ only in upper and lower case: "
                        f"{target.database!r} and {targets[other.id].database!r} at {target.endpoint}",
                        where=database.mark,
                        detail=f"{other.id} is at {other.mark}",
                        hint="this server allows one of them: give the other one another name",
                    )
                    continue
            part = f"{dialect(target.engine).dsn.within(target.url.reveal())} {_version_table(target)}"
            other = first.setdefault((target.engine, hosts, target.database, part), database)
            if other is not database:
                yield InvalidError(
                    f"{database.id} and {other.id} are the same database: {target.database!r} at {target.endpoint}",
                    where=database.mark,
                    detail=f"{other.id} is at {other.mark}",
                    hint="give each a database of its own: look at the variables in its DSN, and at "
                    + override_variable(database.id),
                )


def _version_table(target: Target) -> str:
    """Return what the DSN calls the version table: each set of migrations in a database has its own."""
    names = (target.parameters.get(f"x-migrations-{kind}") for kind in ("table", "collection"))
    return next(filter(None, names), "schema_migrations")


def read_address(text: str, engine: str, *, unknown: Collection[str] = (), base: Path | None = None) -> Address:
    """Understand a DSN without templates; DsnError if it is malformed, for another engine, or names no database.

    `unknown`: the parameters whose values are not known yet. `base` is the directory of the manifest.
    """
    address = dialect(engine).dsn.read(text, unknown=unknown, base=base)
    if problem := name_problem(engine, address.database):
        raise DsnError(f"the name of the database in the DSN {problem}")
    return address


def check_template(template: str, engine: str, columns: tuple[str, ...] = ()) -> None:
    """Raise DsnError if no values can make a DSN of this template: malformed, for another engine, without database.

    The values of parameters are judged too, except those that hold a variable.
    """
    pieces = parse(template, columns)
    if pieces and isinstance(pieces[0], Variable):
        pieces = _with_a_beginning(pieces[1:], engine)
    if pieces:
        skeleton = "".join(piece.text if isinstance(piece, Literal) else HOLE for piece in pieces)
        unknown = {unquote(found["key"]) for found in _PARAMETER.finditer(skeleton) if HOLE in found["value"]}
        filled = fill(pieces, ["1"] * len(pieces), "1", engine, dict.fromkeys(columns, "1"))
        read_address(filled, engine, unknown=unknown)


_PARAMETER = regex(r"(?P<key>[^\s?&=]+)\s*=\s*(?P<value>'(?:[^'\\]|\\.)*'|[^\s&]*)", re.DOTALL)
_QUERY = regex(r"[?&](.*)", re.DOTALL)


def _with_a_beginning(rest: Sequence[Piece], engine: str) -> tuple[Piece, ...]:
    """Return a template for the parameters that follow a variable which holds the beginning of a DSN; () if there are none.

    Whatever the variable holds, a parameter that orch refuses is refused.
    """
    texts = [piece.text if isinstance(piece, Literal) else "" for piece in rest]
    for number, text in enumerate(texts):
        if query := _QUERY.search(text):
            known = dialect(engine)
            begin = f"{known.dsn.schemes[0]}://{known.embedded.address.format(host='h', port=1)}/x?{query[1]}"
            return (Literal(begin), *rest[number + 1 :])
    if texts and texts[0][:1] == " " and "=" in texts[0]:
        return (Literal("" if "dbname" in "".join(texts) else "dbname=x"), *rest)
    return ()
