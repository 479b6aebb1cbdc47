"""Merge failures that several databases share, such as a server that is down."""

from __future__ import annotations

from collections.abc import Iterable

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
    """Return what `shared` does; many failures that differ by the names of their databases alone are one."""
    found = shared(failures)
    if len(found) < MANY:
        return found
    groups: dict[tuple[str, ...], list[tuple[list[str], Failure]]] = {}
    for databases, failure in found:
        groups.setdefault(_without_names(databases[0], failure), []).append((databases, failure))
    result = []
    for group in groups.values():
        databases = [database for databases, _ in group for database in databases]
        result += [(databases, group[0][1])] if len(group) >= MANY else group
    return result


def _without_names(database: str, failure: Failure) -> tuple[str, ...]:
    """Return what two failures have in common that differ only by the names of their databases."""
    name = database.partition("-")[2] or database
    texts = (failure.kind, failure.what, str(failure.where), failure.detail, failure.hint)
    return tuple(str(text).replace(database, "").replace(name, "") for text in texts)


def _same(failure: Failure) -> Failure:
    """What a server says of a login names the database; it is the same trouble for all of them."""
    return replace(failure, detail="") if failure.exit_code == ExitCode.UNREACHABLE else failure
