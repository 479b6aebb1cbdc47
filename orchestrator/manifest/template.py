"""DSN templates: `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `{database}`, and `$$` for a plain `$`.

A value is given raw and encoded for the place where it stands: percent-encoded in user, password, path and query,
quoted in a key=value string. So any password works as it is. A variable at the very beginning (`${DSN}`,
`${BASE}/{database}`) holds a piece of DSN and is taken as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from orchestrator.manifest.url import IS_URL, DsnError, conninfo, parse_conninfo, split


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that stands for itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """`${name}`, with the operator `:-` or `:?` and what follows it."""

    name: str
    operator: str = ""
    argument: str = ""


@dataclass(frozen=True, slots=True)
class DatabaseName:
    """`{database}`."""


Piece = Literal | Variable | DatabaseName

_TOKEN = re.compile(
    r"""(?P<dollar>\$\$)
      | \$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<operator>:[-?])(?P<argument>[^{}]*))?\}
      | (?P<database>\{database\})
      | (?P<text>[^${}]+)""",
    re.VERBOSE,
)
_FORMS = "the forms are ${VAR}, ${VAR:-default}, ${VAR:?message} and {database}; a plain $ is written $$"


@lru_cache(maxsize=4096)
def parse(template: str) -> tuple[Piece, ...]:
    """Return the pieces of a template; DsnError if it is malformed."""
    pieces: list[Piece] = []
    position = 0
    while position < len(template):
        token = _TOKEN.match(template, position)
        if not token:
            raise DsnError(_what_is_wrong(template[position:]), _FORMS)
        position = token.end()
        if token["name"]:
            pieces.append(Variable(token["name"], token["operator"] or "", token["argument"] or ""))
        elif token["database"]:
            pieces.append(DatabaseName())
        else:
            pieces.append(Literal("$" if token["dollar"] else token["text"]))
    return tuple(pieces)


def _what_is_wrong(rest: str) -> str:
    if rest.startswith("${"):
        if "}" not in rest:
            return "the DSN template has a '${' without its '}'"
        return "the DSN template has a '${…}' that is not understood"
    if rest.startswith("{"):
        schema_object = re.match(r"\{[A-Za-z_]{1,30}\}", rest)
        return (
            f"the DSN template has {schema_object[0] if schema_object else 'a curly bracket'}, which is not understood"
        )
    if rest.startswith("}"):
        return "the DSN template has a '}' too many"
    return "the DSN template has a single '$'"


def parse_override(text: str) -> tuple[Piece, ...]:
    """Return the pieces of a plain DSN in which only `{database}` is special."""
    return tuple(
        DatabaseName() if part == "{database}" else Literal(part) for part in re.split(r"(\{database\})", text) if part
    )


_HOLE = "\0"  # stands for a value while the structure is found; templates and values never hold one


def fill(pieces: Sequence[Piece], values: Sequence[str], database: str) -> str:
    """Return the DSN: `values` (one for each Variable, in order) and the database name, encoded for their places.

    DsnError if the template has no structure that can be understood, or a value cannot stand in its place.
    """
    rest = iter(values)
    parts = [piece.text if isinstance(piece, Literal) else _HOLE for piece in pieces]
    held = [
        (piece.name, next(rest)) if isinstance(piece, Variable) else ("", database)
        for piece in pieces
        if not isinstance(piece, Literal)
    ]
    name = ""
    if pieces and isinstance(pieces[0], Variable):
        name, parts[0] = held.pop(0)
    skeleton, holes = "".join(parts), iter(held)
    if IS_URL.match(skeleton):
        return _fill_url(skeleton, holes)
    if "=" in skeleton:
        return conninfo({key: _put(value, holes, lambda _, v: v) for key, value in parse_conninfo(skeleton).items()})
    if name:
        what = "is neither a URL (scheme://…) nor a key=value string" if parts[0] else "is empty"
        raise DsnError(f"the value of {name}, with which the DSN begins, {what}")
    raise DsnError("the DSN is neither a URL (scheme://…) nor a key=value string")


def _fill_url(skeleton: str, holes: Iterator[tuple[str, str]]) -> str:
    url = split(skeleton)
    if any(_HOLE in part.partition("=")[0] for part in url.query.split("&")):
        raise DsnError("a variable in the query of a DSN can only be a value: ?key=${VAR}")
    scheme = _put(url.scheme, holes, _as_host)
    user = _put(url.user, holes, _encoded)
    password = _put(url.password, holes, _encoded)
    hosts = _put(url.hosts, holes, _as_host)
    path = _put(url.path, holes, _encoded)
    query = _put(url.query, holes, _encoded)
    return url._replace(scheme=scheme, user=user, password=password, hosts=hosts, path=path, query=query).text()


def _put(text: str, holes: Iterator[tuple[str, str]], encode: Callable[[str, str], str]) -> str:
    return re.sub(_HOLE, lambda _: encode(*next(holes)), text) if _HOLE in text else text


def _encoded(_name: str, value: str) -> str:
    return quote(value, safe="")


def _as_host(name: str, value: str) -> str:
    if re.search(r"[@/?#\\\s]", value):
        raise DsnError(
            f"the value of {name or '{database}'} cannot be part of a host: it holds one of @ / ? # \\ or a space",
            "for a socket directory write ?host=… in the query",
        )
    return value
