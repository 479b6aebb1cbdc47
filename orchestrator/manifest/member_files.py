"""Read the members of a fleet from the text of a file: lines, CSV, or a JSON array."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.errors import InvalidError
from orchestrator.model import Mark
from orchestrator.records import NamedTuple

_KINDS = {dict: "an object", list: "an array", bool: "true or false", type(None): "null"}
"""How JSON names what is no text and no number."""


class Row(NamedTuple):
    """A member: its columns, where it stands, and its value if the source has no named columns."""

    columns: Mapping[str, str]
    mark: Mark
    value: str = ""


def _lines(text: str, path: str) -> Iterator[Row]:
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        value = line.strip()
        if value and not value.startswith("#"):
            yield Row({}, Mark(path, number, line.index(value) + 1), value)


def _table(text: str, path: str) -> Iterator[Row]:
    import csv

    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, strict=True)
    names: list[str] = []
    line = 0
    try:
        for cells in reader:
            first, line = line + 1, reader.line_num
            mark = Mark(path, first, 1)
            if not cells or cells == [""]:
                continue
            if not names:
                names = [cell.strip() for cell in cells]
                if problem := _header_problem(names):
                    raise InvalidError(problem, where=mark, hint="the first line has the names of the columns")
                continue
            if lines[first - 1].lstrip().startswith("#"):
                hint = "remove it; or, if it is a value, put it in double quotes"
                raise InvalidError("this line begins with #, and CSV has no comments", where=mark, hint=hint)
            if len(cells) != len(names):
                what = f"this line has {_counted(cells, 'value')}, and the first line names {_counted(names, 'column')}"
                raise InvalidError(what, where=mark)
            yield Row(dict(zip(names, (cell.strip() for cell in cells), strict=True)), mark)
    except csv.Error as wrong:
        raise InvalidError(f"this is not CSV: {wrong}", where=Mark(path, reader.line_num or 1, 1)) from None


def _counted(cells: Sequence[str], noun: str) -> str:
    return f"{len(cells)} {noun}{'s' * (len(cells) != 1)}"


def _header_problem(names: Sequence[str]) -> str:
    if "" in names:
        return "a column has no name"
    if names[0].startswith("#"):
        return "the first line begins with #, and CSV has no comments"
    if len(names) == 1 and (mark := next((mark for mark in (";", "\t") if mark in names[0]), "")):
        return f"its columns are separated by {'semicolons' if mark == ';' else 'tabs'} instead of commas"
    twice = next((name for name in names if names.count(name) > 1), "")
    return f"the column {twice!r} is named twice" if twice else ""


def _json(text: str, path: str) -> Iterator[Row]:
    """Yield the items of a JSON array, each with its place."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    space = re.compile(r"[ \t\r\n]*")
    at = _after(space, text, 0)
    if text[at : at + 1] != "[":
        hint = 'such as ["acme", "globex"], or [{"slug": "acme"}]'
        raise InvalidError("the file is not a JSON array", where=Mark.at(path, text, at), hint=hint)
    at = _after(space, text, at + 1)
    keys: list[str] | None = None
    begun = False
    while text[at : at + 1] != "]":
        mark = Mark.at(path, text, at)
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as wrong:
            raise InvalidError(f"this is not JSON: {wrong.msg}", where=Mark.at(path, text, wrong.pos)) from None
        except (ValueError, RecursionError) as wrong:
            raise InvalidError(f"this item cannot be read: {wrong}", where=mark) from None
        row, names = _item(value, mark)
        if begun and names != keys:
            raise InvalidError("this item has other keys than the first", where=mark)
        keys, begun = names, True
        yield row
        at = _after(space, text, at)
        if text[at : at + 1] == ",":
            at = _after(space, text, at + 1)
            if text[at : at + 1] != "]":
                continue
        elif text[at : at + 1] == "]":
            break
        raise InvalidError("this is not JSON: a comma or ] is missing here", where=Mark.at(path, text, at))
    if text[at + 1 :].strip():
        raise InvalidError("there is more behind the JSON array", where=Mark.at(path, text, at + 1))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands in it twice")
    return found


def _after(space: re.Pattern[str], text: str, at: int) -> int:
    found = space.match(text, at)
    return found.end() if found else at


def _item(value: Any, mark: Mark) -> tuple[Row, list[str] | None]:
    """Return the row of an item, and its keys in order; None for one that is no object."""
    if not isinstance(value, dict):
        return Row({}, mark, _scalar(value, mark)), None
    if not value or "" in value:
        raise InvalidError("this item has a key without a name" if value else "this item has no keys", where=mark)
    return Row({key: _scalar(cell, mark, f"the value of {key!r}") for key, cell in value.items()}, mark), sorted(value)


def _scalar(value: Any, mark: Mark, what: str = "a value") -> str:
    """Return a value of a JSON file as text. An error does not show it: it may be a secret."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    kind = _KINDS.get(type(value), "a number with a fraction or an exponent")
    raise InvalidError(f"{what} must be text or a whole number, not {kind}", where=mark)


FORMATS: Mapping[str, Callable[[str, str], Iterator[Row]]] = {".txt": _lines, ".csv": _table, ".json": _json}
"""What reads each kind of file, given its text and its name for people."""
