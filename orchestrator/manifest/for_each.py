"""Read where the members of a fleet come from: values, a range, a file, or the answer to a query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from orchestrator.errors import InvalidError
from orchestrator.manifest.member_files import FORMATS, Row
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
_RANGE = regex(r"([0-9]{1,9})\.\.([0-9]{1,9})")
COLUMN = regex(r"[A-Za-z_][A-Za-z0-9_]*")
"""What a column that stands in a template may be called."""


def files_of(fleets: Iterable[Fleet]) -> list[str]:
    """Return the files that the members of these fleets come from, each once, as the manifest names them."""
    found = [one.origin for one in fleets if one.query is None and Path(one.origin).suffix.lower() in FORMATS]
    return list(dict.fromkeys(found))


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
        dsn = str(entry.get("dsn", ""))
        rows, origin = _values(given["values"] or [], [*at, "values"], source, error, dsn), "values"
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


def _values(values: Sequence[Any], at: Steps, source: Source, error: Report, dsn: str) -> list[Row] | None:
    """Return the members; an error does not show what stands in the DSN, which may be a password."""
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
                told = f"YAML reads {source.text(where)!r} as {cell!r}"
                if key and f"{{{key}}}" in dsn:
                    told = f"YAML does not read the value of {key} as text"
                error(where, told, "put it in quotes")
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
    rows = []
    for row in FORMATS[kind](text, shown(path)):
        rows.append(row)
        if len(rows) > MAX_MEMBERS:
            raise InvalidError(f"more than {MAX_MEMBERS:,} members", where=row.mark)
    return rows


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
