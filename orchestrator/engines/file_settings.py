"""What the directives at the top of a MySQL or SQLite file set for it, and what they ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from orchestrator.engines.checks import ENSURE, REQUIRE
from orchestrator.engines.file_reader import FileReader
from orchestrator.model import Checks, Directive, Statement
from orchestrator.patterns import regex

REPLACES = "replaces"
_NAMES = ("lock_timeout", "lock_try", "statement_timeout", "allow", REPLACES, REQUIRE, ENSURE)
_READ_ELSEWHERE = ("allow", REPLACES)  # by orch lint, and by whoever reads all files of a database
_EXAMPLE = "SELECT count(*) = 0 FROM orders"
_DURATION = regex(r"([0-9]+(?:\.[0-9]+)?)[ \t]*(ms|s|m|min|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
QueryIn = Callable[[str], tuple[int, int] | None]
"""Returns where the one query of a text begins and ends; None if the text is not one query."""


def file_settings(
    reader: FileReader, given: Iterable[Directive], first: int, query_in: QueryIn, no_transaction: tuple[str, str]
) -> tuple[dict[str, float], Checks]:
    """Return the limits of a file in seconds, 0 for `none`, and its checks; InvalidError for a directive that is wrong.

    `first` is where the first statement begins: a directive below it is refused. `no_transaction` says why that directive
    is refused, and what to do.
    """
    found: dict[str, float] = {}
    asked: dict[str, list[Statement]] = {REQUIRE: [], ENSURE: []}
    for line in given:
        name, value, place = line.name, line.value, line.name_at
        if line.start > first:
            what = "an orch directive below the first statement has no effect"
            raise reader.error(what, line.start, "move it to the top of the file, above the first statement")
        if name == "no-transaction":
            raise reader.error(no_transaction[0], place, no_transaction[1])
        if name not in _NAMES:
            from difflib import get_close_matches

            near = get_close_matches(name, _NAMES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(_NAMES)}"
            raise reader.error(f"unknown directive '{name}'", place, hint)
        if name in _READ_ELSEWHERE:
            continue
        if name in asked:
            asked[name].append(_check(reader, name, line.value_at, value, query_in))
            continue
        if name in found:
            raise reader.error(f"directive '{name}' is given twice", place, "remove one of them")
        duration = _DURATION.fullmatch(value)
        found[name] = float(duration[1]) * _SECONDS[duration[2]] if duration else 0.0
        if value != "none" and found[name] < 0.001:
            hint = f"write for example {name}=500ms, 30s, 5m or 1h, or none"
            raise reader.error(f"'{value}' is no duration for {name}", place, hint)
    return found, Checks(tuple(asked[REQUIRE]), tuple(asked[ENSURE]))


def _check(reader: FileReader, name: str, place: int, value: str, query_in: QueryIn) -> Statement:
    """Return the query of a directive `require` or `ensure`; InvalidError if it is not one query."""
    if (bounds := query_in(value)) is None:
        raise reader.error(f"{name} takes one query", place, f"write for example: -- orch: {name} {_EXAMPLE}")
    source = value[slice(*bounds)]
    return Statement(source, source, place + bounds[0], reader.text.count("\n", 0, place) + 1, atomic=True)
