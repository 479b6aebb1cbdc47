"""A schema snapshot as people draw it: tables and collections, their columns and keys, and which refers to which. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from orchestrator.model import SchemaObject, SchemaSnapshot

_BOXES = frozenset({"table", "foreign table", "view", "materialized view", "collection"})
_NAME = r'(?:"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^\s()\[\],."`]+)'
_DOTTED = rf"{_NAME}(?:\.{_NAME})*"
_COLUMNS = rf"\(\s*({_NAME}(?:\s*,\s*{_NAME})*)\s*\)"
_TO = rf"REFERENCES\s+({_DOTTED})\s*(?:{_COLUMNS})?"
_FOREIGN = re.compile(rf"FOREIGN KEY\s*{_COLUMNS}\s*{_TO}", re.IGNORECASE)
_INLINE = re.compile(rf"[(,]({_NAME})\s[^(),]*(?:\([^()]*\)[^(),]*)*?{_TO}", re.IGNORECASE)
_PRIMARY = re.compile(rf"(?<!\w)PRIMARY KEY\s*{_COLUMNS}", re.IGNORECASE)
_PART_OF_KEY = re.compile(r"(?:^| )KEY \d+(?: |$)")
_QUOTED = {'"': '"', "`": "`", "[": "]"}
_DEEPEST = 4  # levels of documents in documents that are drawn


class Column(NamedTuple):
    """A column, or a field that a validator knows. `primary` and `foreign`: it belongs to such a key."""

    name: str
    definition: str
    primary: bool = False
    foreign: bool = False


class Part(NamedTuple):
    """Something else that belongs to a table: an index, a constraint, a trigger, an option."""

    kind: str
    name: str
    definition: str


class Reference(NamedTuple):
    """A foreign key: from columns of a table to those of `table`, which is the name of another table of the schema."""

    columns: tuple[str, ...]
    table: str
    to: tuple[str, ...]


class Table(NamedTuple):
    """A table, a view or a collection with everything that belongs to it."""

    kind: str
    name: str
    definition: str
    columns: tuple[Column, ...]
    parts: tuple[Part, ...]
    references: tuple[Reference, ...]


class Schema(NamedTuple):
    """The tables of a database by name, and what belongs to none of them."""

    tables: tuple[Table, ...]
    others: tuple[Part, ...]


def schema_of(snapshot: SchemaSnapshot) -> Schema:
    """Return the tables of a snapshot, in the order of their names."""
    owners = {one.of for one in snapshot if one.kind == "column"}
    boxes = [one for one in snapshot if one.kind in _BOXES or (not one.of and one.name in owners)]
    by_name = {box.name: box for box in boxes}
    members: dict[SchemaObject, list[SchemaObject]] = {box: [] for box in boxes}
    others = []
    for one in snapshot:
        if one in members:
            continue
        if one.of in by_name:
            members[by_name[one.of]].append(one)
        else:
            others.append(Part(one.kind, one.name, snapshot[one]))
    tables = [_table(box, members[box], snapshot, by_name) for box in sorted(boxes, key=lambda box: box.name)]
    return Schema(tuple(tables), tuple(sorted(others)))


def _table(
    box: SchemaObject, members: Sequence[SchemaObject], snapshot: SchemaSnapshot, tables: Mapping[str, SchemaObject]
) -> Table:
    parts = [Part(one.kind, _own(one, box), snapshot[one]) for one in members if one.kind != "column"]
    references = tuple(_references([snapshot[box], *(part.definition for part in parts)], tables))
    foreign = {name for reference in references for name in reference.columns}
    keys = {
        _plain(name)
        for definition in (snapshot[box], *(part.definition for part in parts))
        for found in _PRIMARY.finditer(definition)
        for name in _split(found[1])
    }
    columns = [
        Column(name, definition, name in keys or bool(_PART_OF_KEY.search(definition)), name in foreign)
        for name, definition in ((_plain(_own(one, box)), snapshot[one]) for one in members if one.kind == "column")
    ]
    columns += _fields(parts)
    columns.sort(key=lambda column: not column.primary)
    return Table(box.kind, box.name, snapshot[box], tuple(columns), tuple(sorted(parts)), references)


def _own(one: SchemaObject, box: SchemaObject) -> str:
    """Return the name of a part without that of its table."""
    return one.name.removeprefix(f"{box.name}.")


def _references(definitions: Sequence[str], tables: Mapping[str, SchemaObject]) -> Iterator[Reference]:
    """Yield the foreign keys among constraints, and in the text of a table where the engine keeps that."""
    seen = set()
    for definition in definitions:
        for found in (*_FOREIGN.finditer(definition), *_INLINE.finditer(definition)):
            target = _known(found[2], tables)
            if target and _plain(found[1]).upper() not in ("CONSTRAINT", "FOREIGN"):
                one = Reference(_names(found[1]), target, _names(found[3] or ""))
                if one not in seen:
                    seen.add(one)
                    yield one


def _known(name: str, tables: Mapping[str, SchemaObject]) -> str:
    """Return the name in the snapshot of a table that a foreign key names; '' if it is not there."""
    spellings = [name, name.removeprefix("public."), _plain(name), _plain(name).lower()]
    return next((tables[one].name for one in spellings if one in tables), "")


def _names(text: str) -> tuple[str, ...]:
    return tuple(_plain(name) for name in _split(text))


def _split(text: str) -> list[str]:
    return re.findall(_NAME, text)


def _plain(name: str) -> str:
    """Return a name without the quotes of SQL around it."""
    close = _QUOTED.get(name[:1])
    if close is None or len(name) < 2 or not name.endswith(close):
        return name
    return name[1:-1].replace(close * 2, close)


def _fields(parts: Sequence[Part]) -> list[Column]:
    """Return the fields that the validator of a collection describes."""
    for part in parts:
        if part.kind == "option" and part.name == "validator":
            try:
                schema = json.loads(part.definition).get("$jsonSchema")
                return list(_properties(schema, "", 0))
            except (ValueError, AttributeError, TypeError, RecursionError):
                return []
    return []


def _properties(schema: Mapping[str, object] | object, before: str, level: int) -> Iterator[Column]:
    if not isinstance(schema, Mapping) or level > _DEEPEST:
        return
    properties, required = schema.get("properties"), schema.get("required")
    needed = required if isinstance(required, list) else []
    for name, field in properties.items() if isinstance(properties, Mapping) else ():
        if not isinstance(field, Mapping):
            continue
        kinds = field.get("bsonType", field.get("type", "any"))
        kind = " or ".join(map(str, kinds)) if isinstance(kinds, list) else str(kinds)
        words = [kind, "required" if name in needed else ""]
        if isinstance(field.get("enum"), list):
            words.append(f"one of {json.dumps(field['enum'], ensure_ascii=False)}")
        yield Column(f"{before}{name}", " ".join(filter(None, words)), name == "_id")
        yield from _properties(field, f"{before}{name}.", level + 1)
