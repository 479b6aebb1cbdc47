"""Read the migration history of one database, or of all: every attempt, the failed ones too. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from orchestrator.errors import DatabaseMissingError, UsageError, exit_code_of
from orchestrator.events import Failure, Sink
from orchestrator.execution.survey import survey
from orchestrator.hints import Command, Hint
from orchestrator.model import History
from orchestrator.operations.scope import Scope, the_one

_EARLY = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Histories:
    """The histories by database, and why those of other databases could not be read."""

    found: Mapping[str, History]
    failures: tuple[tuple[str, Failure], ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or that of the failures."""
        return exit_code_of(failure.exit_code for _, failure in self.failures)


def history(
    scope: Scope, sink: Sink, name: str | None = None, *, since: str | None = None, failed: bool = False
) -> Histories:
    """Return the history of the database of this name, or those of all.

    `since` is an age (7d, 12h, 30m) or a date: only attempts from then on. `failed`: only those that did not come to their
    end. DatabaseMissingError if the one that is named does not exist; UsageError for a `since` that is neither.
    """
    begin = moment(since) if since else None
    if name is not None:
        found = _one(scope, sink, name)
        failures: tuple[tuple[str, Failure], ...] = ()
    else:
        surveys = survey(scope.run(scope.assemble(), sink), reads=True, whole=True)
        failures = tuple((id, seen.failure) for id, seen in surveys.items() if seen.failure)
        found = {id: seen.history for id, seen in surveys.items() if not seen.failure}
    return Histories({id: _chosen(one, begin, failed=failed) for id, one in found.items()}, failures)


def _one(scope: Scope, sink: Sink, name: str) -> dict[str, History]:
    assembly = replace(scope, only=[name], no_deps=True).assemble()
    id = the_one(assembly, name)
    run = scope.run(assembly, sink)
    with run.engines[run.targets[id].engine].connect(run.targets[id]) as session:
        found = session.read_history()
    if not found.exists:
        raise DatabaseMissingError(f"{id} does not exist", hint=Hint(Command("apply"), " creates it"))
    return {id: found}


def moment(text: str) -> datetime:
    """Return the moment that `7d`, `12h`, `30m` or a date in UTC stands for; UsageError for anything else."""
    units = {"d": "days", "h": "hours", "m": "minutes"}
    try:
        if text[-1:] in units:
            return datetime.now(UTC) - timedelta(**{units[text[-1]]: float(text[:-1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UsageError(f"--since {text!r} is neither an age nor a date", hint="7d, 12h, 30m or 2026-01-31") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _chosen(history: History, begin: datetime | None, *, failed: bool) -> History:
    """Return a history with the attempts since a moment, and of these only those that did not come to their end."""
    kept = (
        r for r in history.attempts if (begin is None or (r.started_at or _EARLY) >= begin) and not (failed and r.done)
    )
    return history._replace(attempts=tuple(kept))
