"""Which databases the last run has left behind: those that failed, and those that it did not begin. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.model import Database, Direction
from orchestrator.planning.surveys import Survey


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """The last run, by the histories: its id, when it began its last migration, and the databases that it left behind."""

    run_id: str
    at: datetime | None
    databases: tuple[str, ...]


def left_behind(databases: Sequence[Database], surveys: Mapping[str, Survey]) -> LeftBehind:
    """Return what the newest run of all histories left behind.

    A database is left behind if it still lacks a version that this run has tried on a database with the same files, or
    stopped in the middle of one; whether it failed there or was never begun makes no difference. One that cannot be read
    counts too. The surveys must have whole histories.
    """
    run_id, at = _newest(surveys)
    tried: dict[tuple[str, Path], set[int]] = {}
    for database in databases:
        found = tried.setdefault((database.engine, database.directory), set())
        for attempt in surveys[database.id].history.attempts:
            if attempt.run_id == run_id and run_id and attempt.direction is Direction.UP:
                found.add(attempt.version)
    left = []
    for database in databases:
        survey = surveys[database.id]
        if survey.failure:
            left.append(database.id)
            continue
        state = survey.state
        if state.partial is not None or tried[database.engine, database.directory] & set(state.pending):
            left.append(database.id)
    return LeftBehind(run_id, at, tuple(left))


def _newest(surveys: Mapping[str, Survey]) -> tuple[str, datetime | None]:
    """Return the run that began its last migration last."""
    run_id, at = "", None
    for survey in surveys.values():
        for attempt in survey.history.attempts:
            started = attempt.started_at
            if started is None or not attempt.run_id:
                continue
            started = started if started.tzinfo else started.replace(tzinfo=UTC)
            if at is None or started > at:
                run_id, at = attempt.run_id, started
    return run_id, at
