"""Merge failures that several databases share, such as a server that is down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.errors import ExitCode
from orchestrator.events import Failure


def shared(failures: Iterable[tuple[str, Failure]]) -> list[tuple[list[str], Failure]]:
    """Return each failure once with the databases that it hits, in the order in which they come."""
    found: dict[Failure, tuple[list[str], Failure]] = {}
    for database, failure in failures:
        found.setdefault(_same(failure), ([], failure))[0].append(database)
    return list(found.values())


def _same(failure: Failure) -> Failure:
    """What a server says of a login names the database; it is the same trouble for all of them."""
    return replace(failure, detail="") if failure.exit_code == ExitCode.UNREACHABLE else failure
