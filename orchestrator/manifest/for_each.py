"""Read where the members of a fleet come from: values, a range, a file, or the answer to a query."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from orchestrator.errors import InvalidError
from orchestrator.manifest.names import control_problem
from orchestrator.manifest.source import Source, Steps, read_text, shown
from orchestrator.model import Fleet, Mark, MemberQuery
from orchestrator.patterns import regex
from orchestrator.phrases import did_you_mean
from orchestrator.records import NamedTuple

MAX_MEMBERS = 100_000
"""A fleet has at most so many members."""
_MAX_VALUE = 1_000
"""A value has at most so many characters."""
_SOURCES = ("values", "range", "file", "query")
FORMATS = (".txt", ".csv", ".json")
"""The kinds of files that members come from."""
_RANGE = regex(r"([0-9]{1,9})\.\.([0-9]{1,9})")
COLUMN = regex(r"[A-Za-z_][A-Za-z0-9_]*")
"""What a column that stands in a template may be called."""


def files_of(fleets: Iterable[Fleet]) -> list[str]:
    """Return the files that the members of these fleets come from, each once, as the manifest names them."""
    found = [one.origin for one in fleets if one.query is None and Path(one.origin).suffix.lower() in FORMATS]
    return list(dict.fromkeys(found))


class Row(NamedTuple):
    """A member: its columns, where it stands, and its value if the source has no named columns."""

    columns: Mapping[str, str]
    mark: Mark
    value: str = ""


class Answer(NamedTuple):
    """What a server answered to the query of a fleet; an empty value is None."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | None]]


class Members(NamedTuple):
    """The members of a fleet. `rows` is None as long as the `query` was not run. `origin` names the source for people."""

    origin: str
    rows: tuple[Row, ...] | None
    columns: tuple[str, ...] = ()
    column: str = ""
    query: MemberQuery | None = None


class Report(Protocol):
    """Takes what is wrong, and where: at these steps of the manifest, or in this `row` of the source."""

    def __call__(self, steps: Steps, what: str, hint: str, row: Mark | None = None, /) -> None:
        """Take one error."""


def read_members(
    entry: Mapping[str, Any], steps: Steps, source: Source, base: Path, error: Report, answer: Answer | None
) -> Members | None:
    """Return the members that the `for_each` of an entry means; None, and errors, for what is wrong.

    `answer` is that of the query, if it was run. Raises InvalidError for what is wrong in a file.
    """
    given, at = entry["for_each"], [*steps, "for_each"]
    named = [key for key in _SOURCES if key in given]
    if len(named) != 1:
        what = "names no source" if not named else f"names {len(named)} sources: {', '.join(named)}"
        error(at, f"'for_each' {what}", "give it one of values, range, file or query")
        return None
    kind = named[0]
    for key, owners in (("column", ("values", "file", "query")), ("database", ("query",))):
        if key in given and kind not in owners:
            error([*at, key], f"{key!r} does not apply to {kind!r}", f"leave out {key!r}")
            return None
    if kind == "query":
        return _of_query(given, at, source, error, answer)
    if kind == "range":
        rows, origin = _range(given["range"], [*at, "range"], source, error), "range"
    elif kind == "values":
        rows, origin = _values(given["values"] or [], [*at, "values"], source, error), "values"
    else:
        rows, origin = _file(given["file"], [*at, "file"], base, error), given["file"]
    if rows is None:
        return None
    return _checked(Members(origin, tuple(rows), _columns(rows), given.get("column", "")), at, error)


def _columns(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(rows[0].columns) if rows else ()


def _checked(members: Members, at: Steps, error: Report) -> Members | None:
    """Return the members if their number and their `column` can be used."""
    rows, column = members.rows or (), members.column
    if len(rows) > MAX_MEMBERS:
        error(at, f"the fleet has {len(rows):,} members; {MAX_MEMBERS:,} is the most", "divide it into several entries")
        return None
    if column and rows and column not in members.columns:
        hint = did_you_mean(column, members.columns)
        hint = hint or ("the columns are " + ", ".join(members.columns) if members.columns else "leave out 'column'")
        error([*at, "column"], f"{members.origin} has no column {column!r}", hint)
        return None
    return members


# ---------------------------------------------------------------- values and ranges


def _range(text: Any, at: Steps, source: Source, error: Report) -> list[Row] | None:
    found = _RANGE.fullmatch(str(text))
    if not found:
        error(
            at, f"the range {str(text)!r} is not two numbers", "for example 1..500, or 001..500 for names of one width"
        )
        return None
    first, last = int(found[1]), int(found[2])
    if first > last:
        error(at, f"the range {found[0]} begins after its end", f"write {last}..{first}")
        return None
    if last - first >= MAX_MEMBERS:
        error(at, f"the range {found[0]} has {last - first + 1:,} members; {MAX_MEMBERS:,} is the most", "")
        return None
    width = max((len(end) for end in found.groups() if end.startswith("0") and len(end) > 1), default=0)
    mark = source.mark(at)
    return [Row({}, mark, str(number).zfill(width)) for number in range(first, last + 1)]


def _values(values: Sequence[Any], at: Steps, source: Source, error: Report) -> list[Row] | None:
    rows: list[Row] = []
    sound = True
    keys = tuple(values[0]) if values and isinstance(values[0], dict) else None
    for place, value in enumerate(values):
        here = [*at, place]
        if value == {} or (isinstance(value, dict) and "" in value):
            error(here, "this member has a column without a name" if value else "this member has no columns", "")
            sound = False
            continue
        if (sorted(value) if isinstance(value, dict) else None) != (sorted(keys) if keys else None):
            error(here, "this member has other columns than the first", "give every member the same columns")
            sound = False
            continue
        cells = {key: (value[key], [*here, key]) for key in keys} if keys else {"": (value, here)}
        texts = {}
        for key, (cell, where) in cells.items():
            if not isinstance(cell, str) and source.text(where) != str(cell):
                error(where, f"YAML reads {source.text(where)!r} as {cell!r}", "put it in quotes")
                sound = False
            texts[key] = str(cell)
        rows.append(Row(texts, source.mark(here)) if keys else Row({}, source.mark(here), texts[""]))
    return rows if sound else None


# ---------------------------------------------------------------- files


def _file(name: str, at: Steps, base: Path, error: Report) -> list[Row] | None:
    kind = Path(name).suffix.lower()
    if kind not in FORMATS:
        error(at, f"the file {name!r} is of an unknown kind", f"its name must end in {', '.join(FORMATS)}")
        return None
    path = base / name
    try:
        text = read_text(path)
    except InvalidError as wrong:
        if wrong.where is not None and wrong.where.line:  # something in the file
            raise
        error(at, wrong.what, wrong.hint)
        return None
    reader = {".txt": _lines, ".csv": _table, ".json": _json}[kind]
    rows = []
    for row in reader(text, shown(path)):
        rows.append(row)
        if len(rows) > MAX_MEMBERS:
            raise InvalidError(f"more than {MAX_MEMBERS:,} members", where=row.mark)
    return rows


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
    return Row({key: _scalar(cell, mark) for key, cell in value.items()}, mark), sorted(value)


def _scalar(value: Any, mark: Mark) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InvalidError(f"a value must be text or a whole number, not {json.dumps(value)[:40]}", where=mark)


# ---------------------------------------------------------------- queries


def _of_query(
    given: Mapping[str, Any], at: Steps, source: Source, error: Report, answer: Answer | None
) -> Members | None:
    if "database" not in given:
        error(at, "'for_each' has a query, and no database to ask", "name it: database: NAME")
        return None
    mark = source.mark([*at, "query"])
    column = given.get("column", "")
    query = MemberQuery(given["query"], given["database"], mark)
    origin = "the query"
    if answer is None:
        return Members(origin, None, column=column, query=query)
    if answer.rows and not answer.columns:
        error([*at, "query"], "the query returns no columns", "select the values of the members")
        return None
    if twice := next((name for name in answer.columns if list(answer.columns).count(name) > 1), ""):
        error([*at, "query"], f"the query returns the column {twice!r} twice", "give one of them another name")
        return None
    rows = []
    for number, cells in enumerate(answer.rows, 1):
        texts = {}
        for name, cell in zip(answer.columns, cells, strict=True):
            if cell is None:
                error(
                    [*at, "query"], f"row {number:,} of the query has no value in {name!r}", "add: where … is not null"
                )
                return None
            texts[name] = cell
        rows.append(Row(texts, mark))
    return _checked(Members(origin, tuple(rows), tuple(answer.columns), column, query), at, error)


def value_problem(value: str) -> str:
    """Return why a value cannot stand in any template, or an empty text."""
    if not value:
        return "is empty"
    if len(value) > _MAX_VALUE:
        return f"has {len(value):,} characters; {_MAX_VALUE:,} is the most"
    if value != value.strip():
        return "begins or ends with white space"
    return control_problem(value)


def only(columns: Iterable[str]) -> str:
    """Return the only column, or an empty text where there are several or none."""
    found = list(columns)
    return found[0] if len(found) == 1 else ""
