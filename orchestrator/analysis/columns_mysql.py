"""Definitions of columns of MySQL, and whether one becomes another without a copy of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.engines.mysql.lexer import Token, name_of

_SAME = {
    "integer": "int",
    "dec": "decimal",
    "numeric": "decimal",
    "fixed": "decimal",
    "character": "char",
    "bool": "tinyint",
    "boolean": "tinyint",
    "int4": "int",
    "int8": "bigint",
    "real": "double",
}
_WHOLE = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_LONG = 255  # bytes: a longer value needs two bytes for its length
_WIDEST = 4  # bytes of a character, unless the column says otherwise


class ColumnDefinition(NamedTuple):
    """A column: its type with what is in brackets behind it, and what else decides about a copy."""

    name: str
    type: str
    size: tuple[str, ...]
    unsigned: bool
    charset: str
    not_null: bool
    stored: bool = False
    counts: bool = False
    must_be_given: bool = False


def read_column(clause: Sequence[Token]) -> ColumnDefinition:
    """Return a column by its definition, which begins with its name."""
    words = [token.text if token.kind == "word" else "" for token in clause]
    kind = _SAME.get(words[1], words[1]) if words[1:] else ""
    size: tuple[str, ...] = ()
    if len(clause) > 2 and clause[2].text == "(":
        end = next((at for at in range(3, len(clause)) if clause[at].text == ")"), len(clause))
        size = tuple(token.text for token in clause[3:end] if token.text != ",")
    generated = "as" in words and "(" in [token.text for token in clause]
    stored = generated and bool({"stored", "persistent"} & {*words})
    counts = "auto_increment" in words
    not_null = any(words[at : at + 2] == ["not", "null"] for at in range(len(words))) or "primary" in words
    charset = ""
    for at, word in enumerate(words):
        if word == "charset" or (word == "set" and words[at - 1] == "character"):
            charset = name_of(clause[at + 1]).lower() if at + 1 < len(clause) else ""
    given = not_null and "default" not in words and not generated and not counts
    return ColumnDefinition(
        name_of(clause[0]), kind, size, "unsigned" in words, charset, not_null, stored, counts, must_be_given=given
    )


def in_place(before: ColumnDefinition | None, now: ColumnDefinition) -> bool:
    """Whether a column becomes another one without a copy of the table. `before` None: it is not known, so it may not."""
    if before is None:
        return False
    if (before.charset or now.charset) and before.charset != now.charset:
        return False
    if before.unsigned != now.unsigned or before.type != now.type or before.stored != now.stored:
        return False
    if before.type in _WHOLE:  # what stands in brackets is how they are shown
        return True
    if before.type in ("enum", "set"):
        return now.size[: len(before.size)] == before.size
    if before.type in ("varchar", "varbinary"):
        return _grows(before, now)
    return before.size == now.size


def _grows(before: ColumnDefinition, now: ColumnDefinition) -> bool:
    """Whether a text may only become longer, and its length needs as many bytes as before."""
    if not (len(before.size) == len(now.size) == 1 and before.size[0].isdecimal() and now.size[0].isdecimal()):
        return False
    width = 1 if before.type == "varbinary" or before.charset in ("latin1", "ascii", "binary") else _WIDEST
    old, new = int(before.size[0]), int(now.size[0])
    return new >= old and (old * width > _LONG) == (new * width > _LONG)
