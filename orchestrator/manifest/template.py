"""DSN templates: `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `{database}`, and `$$` for a plain `$`.

A value is given raw and encoded for the place where it stands: percent-encoded in user, password, path and query,
quoted in a key=value string. So any password works as it is. A variable at the very beginning (`${DSN}`,
`${BASE}/{database}`) holds a piece of DSN and is taken as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from orchestrator.engines import dialect
from orchestrator.engines.url import HOLE, DsnError
from orchestrator.patterns import regex
from orchestrator.records import dataclass


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


@dataclass(frozen=True, slots=True)
class Column:
    """`{tenant}`: a column of the source that the members of a fleet come from."""

    name: str


Piece = Literal | Variable | DatabaseName | Column

_TOKEN = regex(
    r"""(?P<dollar>\$\$)
      | \$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<operator>:[-?])(?P<argument>[^{}]*))?\}
      | (?P<database>\{database\})
      | \{(?P<column>[A-Za-z_][A-Za-z0-9_]*)\}
      | (?P<text>[^${}]+)""",
    re.VERBOSE,
)
_FORMS = "the forms are ${VAR}, ${VAR:-default}, ${VAR:?message} and {database}; a plain $ is written $$"


_NO_COLUMNS: Mapping[str, str] = {}


@lru_cache(maxsize=4096)
def parse(template: str, columns: tuple[str, ...] = ()) -> tuple[Piece, ...]:
    """Return the pieces of a template; DsnError if it is malformed. `columns` are those that may stand in it."""
    pieces: list[Piece] = []
    position = 0
    while position < len(template):
        token = _TOKEN.match(template, position)
        if not token or (token["column"] and token["column"] not in columns):
            raise DsnError(_what_is_wrong(template[position:]), _FORMS)
        position = token.end()
        if token["name"]:
            pieces.append(Variable(token["name"], token["operator"] or "", token["argument"] or ""))
        elif token["database"]:
            pieces.append(DatabaseName())
        elif token["column"]:
            pieces.append(Column(token["column"]))
        else:
            pieces.append(Literal("$" if token["dollar"] else token["text"]))
    return tuple(pieces)


def columns_in(template: str) -> tuple[str, ...]:
    """Return the columns of a fleet that stand in a template, each once."""
    names = (token["column"] for token in _TOKEN.finditer(template))
    return tuple(dict.fromkeys(name for name in names if name))


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


def fill(
    pieces: Sequence[Piece], values: Sequence[str], database: str, engine: str, columns: Mapping[str, str] = _NO_COLUMNS
) -> str:
    """Return the DSN of this engine: `values` (one for each Variable, in order), columns and name, encoded for their places.

    DsnError if the template has no structure that can be understood, or a value cannot stand in its place.
    """
    rest = iter(values)
    parts = [piece.text if isinstance(piece, Literal) else HOLE for piece in pieces]
    held: list[tuple[str, str]] = []
    for piece in pieces:
        if isinstance(piece, Variable):
            held.append((piece.name, next(rest)))
        elif isinstance(piece, Column):
            held.append((f"{{{piece.name}}}", columns[piece.name]))
        elif isinstance(piece, DatabaseName):
            held.append(("", database))
    if pieces and isinstance(pieces[0], Column):
        raise DsnError(
            f"the DSN begins with {{{pieces[0].name}}}", "write its scheme: a column is only a part of a DSN"
        )
    name = ""
    if pieces and isinstance(pieces[0], Variable):
        name, parts[0] = held.pop(0)
    skeleton, holes = "".join(parts), iter(held)
    if (text := dialect(engine).dsn.fill(skeleton, holes)) is not None:
        return text
    if name:
        what = "is neither a URL (scheme://…) nor a key=value string" if parts[0] else "is empty"
        raise DsnError(f"the value of {name}, with which the DSN begins, {what}")
    raise DsnError("the DSN is neither a URL (scheme://…) nor a key=value string")
