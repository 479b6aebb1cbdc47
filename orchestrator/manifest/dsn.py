"""From a DSN template and the environment to the place where a database is. No driver, no DNS, no command is run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote

from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.manifest.redact import Redactor
from orchestrator.manifest.template import Piece, Variable, fill, parse, parse_override
from orchestrator.manifest.url import IS_URL, DsnError, parse_conninfo, read_address, split
from orchestrator.manifest.variables import UnsetError, look_up, read_env_file, value_of
from orchestrator.model import Database, Target

__all__ = [
    "Redactor",
    "check_distinct",
    "check_overrides",
    "check_template",
    "override_variable",
    "read_env_file",
    "resolve",
]


def resolve(database: Database, env: Mapping[str, str], redactor: Redactor, history_name: str) -> Target:
    """Return where the database is; `redactor` learns every secret on the way.

    `ORCH_DSN_{ID}` in `env`, a plain DSN, wins over the template. InvalidError (or a group of them) that names the
    database and what is unset or malformed, never a value.
    """
    variable = override_variable(database.id)
    about = f"database {database.id!r}"
    try:
        override = look_up(variable, env)
        if override:
            about = f"{variable} (for {about})"
            text = fill(parse_override(override), [], database.name)
        else:
            pieces = parse(database.dsn)
            text = fill(pieces, _values(database, pieces, env), database.name)
        address = read_address(text, database.engine)
    except DsnError as fault:
        raise InvalidError(f"{about}: {fault.what}", where=database.mark, hint=fault.hint) from None
    redactor.add(*address.secrets)
    return Target(
        database_id=database.id,
        engine=database.engine,
        url=address.url,
        database=address.database,
        endpoint=address.endpoint,
        server_key=address.server_key,
        parameters=address.parameters,
        history_name=history_name,
    )


def _values(database: Database, pieces: Sequence[Piece], env: Mapping[str, str]) -> list[str]:
    """Return a value for each variable; all that are wrong at once, those unset in one error."""
    values: list[str] = []
    unset: list[str] = []
    errors: list[InvalidError] = []
    for piece in pieces:
        if isinstance(piece, Variable):
            try:
                values.append(value_of(piece, env))
            except UnsetError as error:
                unset.append(error.name)
            except DsnError as fault:
                what = f"database {database.id!r}: {fault.what}"
                errors.append(InvalidError(what, where=database.mark, hint=fault.hint))
    if unset:
        names = " and ".join(dict.fromkeys(unset))
        errors.insert(
            0,
            InvalidError(
                f"database {database.id!r} needs {names}, which {'is' if len(set(unset)) == 1 else 'are'} not set",
                where=database.mark,
                hint=f"set it, or {unset[0]}_FILE to a file that holds it, or {override_variable(database.id)}",
            ),
        )
    InvalidGroup.raise_if(errors)
    return values


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
    one PostgreSQL database may be entries of their own, each with its search_path in `options`.
    """
    first: dict[tuple[str, frozenset[str], str, str], Database] = {}
    for database in databases:
        if target := targets.get(database.id):
            hosts = frozenset(host if "/" in host else host.lower() for host in target.endpoint.split(","))
            other = first.setdefault((target.engine, hosts, target.database, _options(target)), database)
            if other is not database:
                yield InvalidError(
                    f"{database.id} and {other.id} are the same database: {target.database!r} at {target.endpoint}",
                    where=database.mark,
                    detail=f"{other.id} is at {other.mark}",
                    hint="give each a database of its own: look at the variables in its DSN, and at "
                    + override_variable(database.id),
                )


def _options(target: Target) -> str:
    if not IS_URL.match(target.url):
        return parse_conninfo(target.url).get("options", "")
    pairs = (part.partition("=") for part in split(target.url).query.split("&"))
    return next((unquote(value) for key, _, value in pairs if unquote(key) == "options"), "")


def check_template(template: str, engine: str) -> None:
    """Raise DsnError if no values can make a DSN of this template: malformed, for another engine, without database."""
    pieces = parse(template)
    if pieces and not isinstance(pieces[0], Variable):
        read_address(fill(pieces, ["1"] * len(pieces), "1"), engine)
