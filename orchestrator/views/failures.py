"""Merge failures that several databases share, such as a server that is down."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from orchestrator.errors import ExitCode
from orchestrator.events import Failure
from orchestrator.records import replace

MANY = 10
"""So many databases whose failures differ by their own names alone are told once."""


def shared(failures: Iterable[tuple[str, Failure]]) -> list[tuple[list[str], Failure]]:
    """Return each failure once with the databases that it hits, in the order in which they come."""
    found: dict[Failure, tuple[list[str], Failure]] = {}
    for database, failure in failures:
        found.setdefault(_same(failure), ([], failure))[0].append(database)
    return list(found.values())


def alike(failures: Iterable[tuple[str, Failure]]) -> list[tuple[list[str], Failure]]:
    """Return what `shared` does; many failures that differ by the names of their databases alone are one.

    So are many of one statement of a file that differ by what the server says of its values; then the detail is that of the
    first, and says so.
    """
    found = _folded(shared(failures), lambda failure: failure.detail)
    return _folded(found, lambda failure: "" if failure.where and failure.code else failure.detail)


def _folded(
    found: list[tuple[list[str], Failure]], detail_of: Callable[[Failure], str]
) -> list[tuple[list[str], Failure]]:
    """Return the failures with those as one that are `MANY` and differ by the names of their databases alone."""
    if len(found) < MANY:
        return found
    groups: dict[tuple[str, ...], list[tuple[list[str], Failure]]] = {}
    for databases, failure in found:
        groups.setdefault(_without_names(databases[0], failure, detail_of(failure)), []).append((databases, failure))
    result = []
    for group in groups.values():
        (first, *_), failure = group[0]
        if failure.detail != detail_of(failure):
            failure = replace(failure, detail=f"{failure.detail}\nThis is of {first}; values of the others differ.")
        databases = [database for databases, _ in group for database in databases]
        result += [(databases, failure)] if len(group) >= MANY else group
    return result


def _without_names(database: str, failure: Failure, detail: str) -> tuple[str, ...]:
    """Return what two failures have in common that differ only by the names of their databases."""
    name = database.partition("-")[2] or database
    texts = (failure.kind, failure.what, str(failure.where), detail, failure.hint)
    return tuple(str(text).replace(database, "").replace(name, "") for text in texts)


def _same(failure: Failure) -> Failure:
    """What a server says of a login names the database; it is the same trouble for all of them."""
    return replace(failure, detail="") if failure.exit_code == ExitCode.UNREACHABLE else failure
