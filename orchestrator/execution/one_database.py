"""Migrate one database of a plan: here, or wherever else a run has it done.

A place elsewhere takes a `DatabasePlan` and answers with plain data. Order, waves, limits and the exit code stay with the
executor, which waits for the answer in the thread of that database.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.errors import ConnectionLostError, InterruptedRunError, StatementError
from orchestrator.events import Failure
from orchestrator.execution.migrator import Migrator
from orchestrator.execution.run import Run
from orchestrator.execution.sessions import Sessions
from orchestrator.planning.plan import DatabasePlan
from orchestrator.records import NamedTuple


class Migrated(NamedTuple):
    """What became of a database: the version at which it stands, and how many steps were made."""

    version: int | None
    applied: int


Migrate = Callable[[DatabasePlan], Migrated | None]
"""Does elsewhere what a plan says for one database, and returns when it is done; raises whatever stopped it.

Returns None for a database that must be migrated here.
"""


class FailedElsewhereError(Exception):
    """A database failed in another process; `failure` says why, without secrets."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.what)
        self.failure = failure


def migrate_here(run: Run, sessions: Sessions, planned: DatabasePlan) -> Migrated:
    """Migrate a database in this thread. Raises whatever stopped it."""
    migrator = Migrator(run, planned, sessions.registered)
    migrator.migrate()
    return Migrated(migrator.version, migrator.applied)


def was_interrupted(run: Run, error: Exception) -> bool:
    """Whether a database was stopped by a signal: then it has not failed."""
    if isinstance(error, InterruptedRunError):
        return True
    return run.cancelled.is_set() and isinstance(error, (StatementError, ConnectionLostError))


def failure_of(run: Run, error: Exception) -> Failure:
    """Return why a database failed, as data without secrets."""
    return error.failure if isinstance(error, FailedElsewhereError) else Failure.of(error, run.redact)
