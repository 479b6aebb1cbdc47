"""`orch repair --acknowledge`: the files of applied versions are gone, and that is meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator.cli.console import out, say_failure
from orchestrator.errors import ConflictError, OrchError, UsageError, exit_code_of
from orchestrator.events import Failure
from orchestrator.manifest.redact import redactor
from orchestrator.model import Direction
from orchestrator.planning.history import reconcile
from orchestrator.planning.repair import Resolution, acknowledge
from orchestrator.planning.squash import Ranges, parse_ranges

if TYPE_CHECKING:
    from orchestrator.cli.records import OneDatabase
    from orchestrator.model import History


def acknowledge_gone(databases: Iterable[OneDatabase], text: str, reason: str, lock_timeout: float | None) -> int:
    """Record for each of these databases that the files of these versions are gone, as is meant; return the exit code.

    One that fails does not stop the others.
    """
    try:
        ranges = parse_ranges(text)
    except ValueError as error:
        raise UsageError(f"--acknowledge: {error}") from None
    codes: set[int] = set()
    for one in databases:
        try:
            out(f"{one.id}: {_acknowledged(one, ranges, reason, lock_timeout)}.")
        except OrchError as error:
            failure = Failure.of(error, redactor)
            say_failure(failure)
            codes.add(failure.exit_code)
    return exit_code_of(codes)


def _acknowledged(one: OneDatabase, ranges: Ranges, reason: str, lock_timeout: float | None) -> str:
    seen = one.read()
    by = one.signature(reason)
    for problem in reconcile(one.migrations, seen).blocked(Direction.DOWN):  # first what makes the records doubtful
        raise ConflictError(f"{one.id}: {problem.what}", hint=problem.hint_for(one.id))
    if acknowledge(one.migrations, seen, ranges, by) is None:
        return "none of these versions is applied without a file; nothing to record"

    def resolution(history: History) -> Resolution:
        if (found := acknowledge(one.migrations, history, ranges, by)) is None:
            raise ConflictError(f"{one.id} changed while you were looking", hint="run the command again")
        return found

    return f"recorded that {one.write(resolution, seen, lock_timeout).what}"
