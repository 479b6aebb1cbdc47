"""PostgreSQL's column types as a file writes them, and what it costs to change one into another.

The rules are those of PostgreSQL's documentation and source; `tests/unit/test_lint_truth.py` measures a sample of them on real
servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from orchestrator.analysis.words import Words, identifier
from orchestrator.records import dataclass

_ALIASES = {
    "int": "integer",
    "int4": "integer",
    "int2": "smallint",
    "int8": "bigint",
    "float8": "double precision",
    "float": "double precision",
    "float4": "real",
    "bool": "boolean",
    "decimal": "numeric",
    "dec": "numeric",
    "character varying": "varchar",
    "char varying": "varchar",
    "national character varying": "varchar",
    "character": "char",
    "bpchar": "char",
    "nchar": "char",
    "bit varying": "varbit",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "time with time zone": "timetz",
    "time without time zone": "time",
    "serial4": "serial",
    "serial8": "bigserial",
    "serial2": "smallserial",
}
SERIAL = {"serial": "integer", "bigserial": "bigint", "smallserial": "smallint"}
_BUILT_IN = frozenset(
    (
        *_ALIASES.values(),
        *(
            "text",
            "uuid",
            "json",
            "jsonb",
            "date",
            "interval",
            "bytea",
            "inet",
            "cidr",
            "macaddr",
            "macaddr8",
            "money",
            "xml",
        ),
        *(
            "point",
            "line",
            "lseg",
            "box",
            "path",
            "polygon",
            "circle",
            "tsvector",
            "tsquery",
            "bit",
            "name",
            "oid",
            "varbit",
        ),
        *(
            "int4range",
            "int8range",
            "numrange",
            "tsrange",
            "tstzrange",
            "daterange",
            "regclass",
            "pg_lsn",
            "xid",
            "hstore",
        ),
        *("int4multirange", "int8multirange", "nummultirange", "tsmultirange", "tstzmultirange", "datemultirange"),
        *("citext", "ltree", "geometry", "geography", "vector", "regproc", "txid_snapshot", "jsonpath", "real"),
    )
)
_AFTER_TYPE = frozenset(
    (
        *("CONSTRAINT", "NOT", "NULL", "DEFAULT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "GENERATED", "COLLATE"),
        *("STORAGE", "COMPRESSION", "USING", "DEFERRABLE", "INITIALLY", "OPTIONS", "WITH OPTIONS", ","),
    )
)


@dataclass(frozen=True, slots=True)
class Type:
    """A type by the name that it has in the catalogue, with its modifiers: `numeric` and `("10", "2")`."""

    name: str
    modifiers: tuple[str, ...] = ()
    array: bool = False

    @property
    def built_in(self) -> bool:
        """Whether the server or a well known extension defines it; else it may be a domain."""
        return self.name in _BUILT_IN

    def __str__(self) -> str:
        return self.name + (f"({','.join(self.modifiers)})" if self.modifiers else "") + ("[]" if self.array else "")


class Cost(Enum):
    """What a change of type costs."""

    NONE = "none"
    INDEX = "index"
    REWRITE = "rewrite"
    MAY = "may"


def read_type(words: Words) -> Type:
    """Read the type at the cursor, up to the first word that cannot belong to it."""
    names: list[str] = []
    modifiers: tuple[str, ...] = ()
    array = False
    while not words.done and words.peek() not in _AFTER_TYPE and words.peek() != ")":
        word = words.peek()
        if word == "(":
            start, end = words.group()
            modifiers = tuple(words.words[i].lower() for i in range(start, end) if words.words[i] != ",")
        elif word == "[":
            while not words.done and words.peek() != "]":
                words.i += 1
            words.i += 1
            array = True
        elif word == "ARRAY":
            words.i += 1
            array = True
        elif word == "%":
            words.i += 2
            names.append("%type")
        elif word == ".":
            words.i += 1
            schema = names.pop() if names else ""
            name = identifier(words.peek())
            names.append(name if schema in ("pg_catalog", "public") else f"{schema}.{name}")
            words.i += 1
        else:
            names.append(identifier(word))
            words.i += 1
    spelled = " ".join(names)
    if spelled.startswith("interval"):
        spelled = "interval"
    if spelled.startswith("setof "):
        spelled = spelled[6:]
    return Type(_ALIASES.get(spelled, spelled), modifiers, array)


def changed(old: Type, new: Type, utc: bool | None) -> Cost:
    """Return what ALTER … TYPE costs between two types without a domain, if USING changes nothing.

    `utc`: whether the session's TimeZone is known to be UTC; None where nothing is known.
    """
    if old.array != new.array:
        return Cost.REWRITE
    if old == new:
        return Cost.NONE
    pair = (old.name, new.name)
    if pair in (("timestamp", "timestamptz"), ("timestamptz", "timestamp")):
        if _narrower(old.modifiers, new.modifiers) or utc is False:
            return Cost.REWRITE
        if utc is None:
            return Cost.MAY
        return Cost.INDEX if new.name == "timestamptz" else Cost.NONE
    if old.name == new.name:
        if old.name == "numeric":
            return Cost.REWRITE if _other_scale(old.modifiers, new.modifiers) else Cost.NONE
        if old.name in ("varchar", "varbit", "timestamp", "timestamptz", "time", "timetz", "interval"):
            return Cost.REWRITE if _narrower(old.modifiers, new.modifiers) else Cost.NONE
        return Cost.NONE if old.modifiers == new.modifiers else Cost.REWRITE
    if pair in (
        ("varchar", "text"),
        ("cidr", "inet"),
        ("text", "citext"),
        ("citext", "text"),
        ("varchar", "citext"),
        ("xml", "text"),
        ("integer", "oid"),
        ("oid", "integer"),
        ("regclass", "oid"),
        ("oid", "regclass"),
    ):
        return Cost.NONE
    if pair == ("text", "varchar"):
        return Cost.REWRITE if new.modifiers else Cost.NONE
    return Cost.REWRITE


def _narrower(old: Sequence[str], new: Sequence[str]) -> bool:
    """Whether a limit is added or lowered."""
    if not new:
        return False
    if not old:
        return new[0] != "6"  # as many digits as a time can have
    return not (old[0].isdigit() and new[0].isdigit() and int(new[0]) >= int(old[0]))


def _other_scale(old: Sequence[str], new: Sequence[str]) -> bool:
    if not new:
        return False
    if not old:
        return True
    scales = (old[1:] or ("0",), new[1:] or ("0",))
    return scales[0] != scales[1] or int(new[0]) < int(old[0])
