"""Read values of Extended JSON (canonical or relaxed), and tell the place of whatever is wrong in them."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from bson.errors import BSONError

from orchestrator.engines.mongo.extended_values import INT64, value_of
from orchestrator.errors import InvalidError
from orchestrator.model import File, Mark
from orchestrator.patterns import regex

_DECODER = json.JSONDecoder()
_SPACE = regex(r"[ \t\r\n]*")
_TOKEN = regex(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]')
_SCALAR = regex(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?(?:\d[\d.eE+-]*|Infinity)|NaN')
_HUGE = regex(r"\d[eE]\+?\d{3}|\d{300}")  # perhaps a number that no double holds
_SPECIFICATION = "see the MongoDB Extended JSON (v2) specification"


def entry_offset(source: str, array: str, index: int) -> int | None:
    """Return the offset of an entry, counted from 0, of a command's array of this name; None if it cannot be found."""
    try:
        position = skip_space(source, source.index("{") + 1)
        while True:
            key, end = _DECODER.raw_decode(source, position)
            position = skip_space(source, source.index(":", end) + 1)
            if key == array:
                break
            position = _next(source, position)
        if not source.startswith("[", position):
            return None
        position = skip_space(source, position + 1)
        for _ in range(index):
            position = _next(source, position)
        _DECODER.raw_decode(source, position)  # it is there
    except (ValueError, RecursionError):
        return None
    return position


def _next(text: str, position: int) -> int:
    """Return where the member after the one at a position begins; ValueError if that is the last."""
    _, end = _DECODER.raw_decode(text, position)
    comma = skip_space(text, end)
    if not text.startswith(",", comma):
        raise ValueError
    return skip_space(text, comma + 1)


def read_value(file: File, text: str, start: int) -> tuple[Any, int]:
    """Return the value that begins at `start` of a file's text, and where it ends (offsets in characters, from 0).

    InvalidError with the place of what is wrong: no JSON, a key that stands twice, a value that BSON cannot hold.
    """
    closed = 0

    def value(pairs: list[tuple[str, Any]]) -> Any:
        nonlocal closed
        closed += 1
        return value_of(pairs)

    try:
        checked = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_refuse_constant)
        _, end = checked.raw_decode(text, start)
        if _HUGE.search(text, start, end) and (bad := bad_scalar(text, start, end)):
            refuse(file, text, bad[0], f"invalid Extended JSON: {bad[1]}", _SPECIFICATION)
        return json.JSONDecoder(object_pairs_hook=value).raw_decode(text, start)
    except _DuplicateKeyError as error:
        what, hint = f"the key {json.dumps(error.key)} stands twice", "JSON would keep the last only"
        refuse(file, text, _duplicate(text, start), what, hint)
    except json.JSONDecodeError as error:
        hint = _hint(text, error.pos)
        refuse(file, text, error.pos, f"invalid JSON: {error.msg[0].lower()}{error.msg[1:]}", hint)
    except RecursionError:
        refuse(file, text, start, "nested too deeply", "MongoDB allows 100 levels")
    except (BSONError, ValueError, TypeError, ArithmeticError) as error:
        if closed:  # the object that was closed last is no value
            place, what = _closed(text, start, closed), str(error)
        else:
            place, what = bad_scalar(text, start, len(text)) or (start, str(error))
        refuse(file, text, place, f"invalid Extended JSON: {what}", _SPECIFICATION)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def bad_scalar(text: str, start: int, end: int) -> tuple[int, str] | None:
    """Return the place of the first number or string in this part that BSON cannot hold, and why; None if there is none."""
    for match in _SCALAR.finditer(text, start, end):
        piece = match[0]
        if piece[0] == '"':
            if "\\u" in piece and (
                what := _bad_text(piece, is_key=text.startswith(":", skip_space(text, match.end())))
            ):
                return match.start(), what
        elif piece in ("NaN", "Infinity", "-Infinity"):
            return match.start(), f'{piece} is not JSON: write {{"$numberDouble": "{piece}"}}'
        elif piece.lstrip("-").isdigit():
            if len(piece) > 20 or not -INT64 <= int(piece) < INT64:
                return match.start(), "this number has more than the 64 bits of the largest integer (8-byte ints)"
        elif _HUGE.search(piece) and _is_infinite(piece):
            return match.start(), "this number is larger than a double can be"
    return None


def _bad_text(piece: str, *, is_key: bool) -> str:
    try:
        content = json.loads(piece)
        content.encode()
    except UnicodeEncodeError:
        return "this string has half of a surrogate pair, which is no character"
    except ValueError:
        return ""
    return "a key cannot hold the character NUL" if is_key and "\0" in content else ""


def _is_infinite(piece: str) -> bool:
    try:
        return math.isinf(float(piece))
    except ValueError:
        return False


class _DuplicateKeyError(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _no_duplicates(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise _DuplicateKeyError(key)
        seen.add(key)


def _duplicate(text: str, start: int) -> int:
    """Return the offset of the first key from `start` on that its object has already."""
    objects: list[set[str] | None] = []
    previous = ""
    for match in _TOKEN.finditer(text, start):
        piece = match[0]
        if piece in "{[":
            objects.append(set() if piece == "{" else None)
        elif piece in "}]":
            objects.pop()
        elif piece[0] == '"' and previous in "{," and objects and (keys := objects[-1]) is not None:
            key = json.loads(piece)
            if key in keys:
                return match.start()
            keys.add(key)
        previous = piece
    return start


def _closed(text: str, start: int, number: int) -> int:
    """Return the offset of the object that is, from `start` on, closed as the `number`-th."""
    opened: list[int] = []
    for match in _TOKEN.finditer(text, start):
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "}":
            place = opened.pop()
            number -= 1
            if number == 0:
                return place
    return start


def _hint(text: str, position: int) -> str:
    rest = text[position : position + 2]
    before = text[:position].rstrip()
    if before.endswith(",") or rest[:1] == ",":
        return "JSON allows no trailing comma"
    if rest[:1] == "'":
        return 'JSON strings stand in double quotes: "'
    if rest in ("//", "/*"):
        return "JSON has no comments"
    if rest[:1].isalpha():
        return 'a name or a call is not JSON: keys stand in double quotes, dates are {"$date": "..."}'
    return "a migration for MongoDB is JSON, not JavaScript"


def skip_space(text: str, position: int) -> int:
    """Return the offset of the first character from `position` on that is no white space."""
    match = _SPACE.match(text, position)
    return match.end() if match else position


def refuse(file: File, text: str, offset: int, what: str, hint: str) -> NoReturn:
    """Raise InvalidError with the line and column of an offset in a file's text."""
    raise InvalidError(what, where=Mark.at(file.path, text, min(offset, len(text))), hint=hint)
