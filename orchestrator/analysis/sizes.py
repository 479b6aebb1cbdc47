"""What sizes and traffic of tables mean for findings, and the document that `orch stats` writes of them. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.analysis.findings import Finding
from orchestrator.analysis.rule import ERROR, WARN
from orchestrator.errors import InvalidError
from orchestrator.hints import Command, Hint
from orchestrator.model import Mark, Size

FORMAT = 1
SMALL, SMALL_ROWS, CALM = 10_000_000, 20_000, 50.0  # bytes, rows, writes a second: work is done before anybody notices
LARGE, LARGE_ROWS = 1_000_000_000, 5_000_000  # bytes, rows: work takes minutes
_WORK = ("PG2", "PG3", "PG6", "MG2", "MG6", "MY2", "MY6")  # what these tell of takes as long as the table is large
_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))

Sizes = Mapping[str, Size]


def weighed(finding: Finding, level: str, sizes: Sizes) -> str:
    """Return the level of a finding by the table that it is about.

    What a rule says of work and locks is no more than a warning for a small table that few write to, and an error for a
    large one. A table of which nothing is known changes nothing, and lost data never becomes a warning.
    """
    size = size_of(finding.table, sizes)
    if size is None or not finding.code.startswith(_WORK):
        return level
    if level == ERROR and size.bytes <= SMALL and size.rows <= SMALL_ROWS and size.writes <= CALM:
        return WARN
    if level == WARN and not finding.maybe and (size.bytes >= LARGE or size.rows >= LARGE_ROWS):
        return ERROR
    return level


def size_of(table: str, sizes: Sizes) -> Size | None:
    """Return the size of a table by the name that a finding has, in which only some parts are quoted."""
    return sizes.get(table) or sizes.get(table.replace('"', ""))


def shown(table: str, size: Size) -> str:
    """Return a few words on a table: `orders has 12,000,000 rows (4.1 GB), 20 writes a second`."""
    number, unit = next(
        ((size.bytes / many, unit) for many, unit in _UNITS if size.bytes >= many), (size.bytes, "bytes")
    )
    busy = f", {size.writes:,.0f} writes a second" if size.writes >= 1 else ""
    amount = f"{number:.1f}" if unit != "bytes" else f"{number:.0f}"
    return f"{table} has {size.rows:,} rows ({amount} {unit}){busy}"


WRITE = Hint(Command("stats", "-o", "sizes.json"))
"""What makes such a file."""


def document(databases: Mapping[str, Sizes], at: str) -> dict[str, Any]:
    """Return the sizes as plain data; `at` is when they were looked at."""
    tables = {
        id: {
            name: {"rows": size.rows, "bytes": size.bytes, "writes_per_second": round(size.writes, 3)}
            for name, size in sorted(sizes.items())
        }
        for id, sizes in databases.items()
    }
    return {"format": FORMAT, "at": at, "databases": {id: {"tables": one} for id, one in tables.items()}}


def read_document(given: Any, path: str) -> dict[str, dict[str, Size]]:
    """Return the sizes of a document, by databases and tables; InvalidError if it is none."""
    if not isinstance(given, dict) or given.get("format") != FORMAT or not isinstance(given.get("databases"), dict):
        raise InvalidError("this is not what `orch stats` writes", where=Mark(path), hint=WRITE)
    found: dict[str, dict[str, Size]] = {}
    for id, one in given["databases"].items():
        tables = one.get("tables") if isinstance(one, dict) else None
        if not isinstance(tables, dict):
            raise InvalidError(f"{id} has no 'tables'", where=Mark(path), hint=WRITE)
        found[id] = {name: _size(values, f"{id}: {name}", path) for name, values in tables.items()}
    return found


def _size(values: Any, what: str, path: str) -> Size:
    given: list[Any] = (
        [values.get(key) for key in ("rows", "bytes", "writes_per_second")] if isinstance(values, dict) else []
    )
    if len(given) != 3 or any(
        isinstance(one, bool) or not isinstance(one, int | float) or not one >= 0 for one in given
    ):
        hint = "rows, bytes and writes_per_second are numbers from 0 on"
        raise InvalidError(f"the size of {what} cannot be read", where=Mark(path), hint=hint)
    return Size(int(min(given[0], 2**63)), int(min(given[1], 2**63)), float(given[2]))
