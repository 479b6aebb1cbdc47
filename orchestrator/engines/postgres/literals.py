"""Refuse literals that a session would read differently from the file, with their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from orchestrator.engines.postgres.sql_reader import Reader
from orchestrator.errors import StatementError
from orchestrator.model import Statement

_CONFIG = r"SELECT\s+(?:pg_catalog\s*\.\s*)?set_config\s*\(\s*'"
_STRINGS, _ENCODING = (
    re.compile(
        rf"(?:SET\s+(?:(?:SESSION|LOCAL)\s+)?{set_}\s*'?|{_CONFIG}{name}'\s*,\s*')(?P<value>[\w-]+)", re.IGNORECASE
    )
    for name, set_ in (
        ("standard_conforming_strings", r"standard_conforming_strings\s*(?:=|\bTO\b)"),
        ("client_encoding", r"(?:NAMES\b|client_encoding\s*(?:=|\bTO\b))"),
    )
)
_OFF = ("off", "of", "false", "f", "no", "n", "0")
_OURS = ("utf8", "utf-8", "unicode", "default")
_BACKSLASH = "a backslash in a plain literal, where standard_conforming_strings is off"
_BACKSLASH_HINT = (
    "write the literal as E'…' with \\\\ for a backslash, which means the same everywhere; "
    "or set it for this login: options=-cstandard_conforming_strings%3Don in the DSN"
)
_ENCODING_HINT = "remove what sets client_encoding: orch sends files as UTF-8, and the server converts them"


def refuse_changed_literals(reader: Reader, statements: Callable[[], Sequence[Statement]]) -> None:
    """Raise InvalidError for a literal below a statement of the file that changes how literals are read."""
    lowered = reader.text.lower()
    if "standard_conforming_strings" in lowered and "\\" in lowered:
        _refuse_backslashes(reader, statements())
    if ("client_encoding" in lowered or "names" in lowered) and not reader.text.isascii():
        for statement in statements():
            value = _value(_ENCODING, statement)
            if value and value not in _OURS and not reader.text[statement.offset :].isascii():
                raise reader.error(f"client_encoding is set to {value}", statement.offset, _ENCODING_HINT)


def _refuse_backslashes(reader: Reader, statements: Sequence[Statement]) -> None:
    off = False
    for statement in statements:
        if value := _value(_STRINGS, statement):
            off = value in _OFF
        end = statement.offset + len(statement.source)
        if off and (at := reader.backslash_in_literal(statement.offset, end)) is not None:
            raise reader.error(_BACKSLASH, at, _BACKSLASH_HINT)


def _value(pattern: re.Pattern[str], statement: Statement) -> str:
    found = pattern.match(statement.source)
    return found["value"].lower() if found else ""


def refuse_misread(statements: Sequence[Statement], strings: str | None, encoding: str | None, *, whole: bool) -> None:
    """Raise StatementError for a literal that the session would read otherwise than it stands.

    `strings` and `encoding` are what the server has reported of standard_conforming_strings and client_encoding.
    `whole`: all statements go in one message, which is read before the first of them runs.
    """
    for statement in statements:
        if encoding not in (None, "UTF8") and not statement.source.isascii():
            at = next(index for index, character in enumerate(statement.source) if not character.isascii())
            raise StatementError(
                f"the session's client_encoding is {encoding} now", hint=_ENCODING_HINT, statement=statement, offset=at
            )
        if strings != "off":
            continue
        if not whole and _value(_STRINGS, statement) not in ("", *_OFF):
            return
        at_backslash = Reader("", statement.source).backslash_in_literal(0, len(statement.source))
        if at_backslash is not None:
            raise StatementError(_BACKSLASH, hint=_BACKSLASH_HINT, statement=statement, offset=at_backslash)
