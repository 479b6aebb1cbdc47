"""`orch repair --here`: what a database's records say is true of the database in which they are now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator.cli.console import out, say_failure
from orchestrator.errors import OrchError, exit_code_of
from orchestrator.events import Failure
from orchestrator.manifest.redact import redactor
from orchestrator.planning.history import reconcile
from orchestrator.planning.problems import Kind
from orchestrator.planning.repair import Resolution, resolutions

if TYPE_CHECKING:
    from orchestrator.cli.records import OneDatabase
    from orchestrator.model import History


def declare_here(databases: Iterable[OneDatabase], reason: str, lock_timeout: float | None) -> int:
    """Record it for each of these databases whose records were written elsewhere; return the exit code.

    One that fails does not stop the others.
    """
    codes: set[int] = set()
    for one in databases:
        try:
            out(f"{one.id}: {_declared(one, reason, lock_timeout)}.")
        except OrchError as error:
            failure = Failure.of(error, redactor)
            say_failure(failure)
            codes.add(failure.exit_code)
    return exit_code_of(codes)


def _declared(one: OneDatabase, reason: str, lock_timeout: float | None) -> str:
    seen = one.read()
    if not any(problem.kind is Kind.ELSEWHERE for problem in reconcile(one.migrations, seen).problems):
        return "its records were written here; nothing to record"

    def resolution(history: History) -> Resolution:
        return resolutions(one.migrations, history, one.signature(reason))[0]

    return f"recorded that {one.write(resolution, seen, lock_timeout).what}"
