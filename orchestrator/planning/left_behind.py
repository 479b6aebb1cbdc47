"""Which databases the last run has left behind: those that failed, and those that it did not begin. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.model import Database, Direction
from orchestrator.planning.shards import shard_in
from orchestrator.planning.surveys import Survey


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """The last run, by the histories: its id, when it began its last migration, and the databases that it left behind.

    Of a run in shards, each shard has an id of its own.
    """

    run_ids: tuple[str, ...]
    at: datetime | None
    databases: tuple[str, ...]


def left_behind(databases: Sequence[Database], surveys: Mapping[str, Survey]) -> LeftBehind:
    """Return what the newest run of all histories left behind; of a run in shards, what the newest of each shard did.

    A database is left behind if it still lacks a version that this run has tried on a database with the same files, or
    stopped in the middle of one; whether it failed there or was never begun makes no difference. One that cannot be read
    counts too, and so does one that has migrations pending and depends on such a one: it was blocked. The surveys must
    have whole histories.
    """
    run_ids, at = _newest(surveys)
    tried: dict[tuple[str, Path], set[int]] = {}
    for database in databases:
        found = tried.setdefault((database.engine, database.directory), set())
        for attempt in surveys[database.id].history.attempts:
            if attempt.run_id in run_ids and attempt.direction is Direction.UP:
                found.add(attempt.version)
    left: dict[str, None] = {}
    for database in databases:  # in the order of their dependencies
        survey = surveys[database.id]
        state = survey.state
        lacks = tried[database.engine, database.directory] & set(state.pending)
        blocked = state.pending and any(need in left for need in database.depends_on)
        if survey.failure or state.partial is not None or lacks or blocked:
            left[database.id] = None
    return LeftBehind(tuple(run_ids), at, tuple(left))


def _newest(surveys: Mapping[str, Survey]) -> tuple[list[str], datetime | None]:
    """Return the run that began its last migration last; if it was a shard, with the newest run of each other shard."""
    begun: dict[str, datetime] = {}
    for survey in surveys.values():
        for attempt in survey.history.attempts:
            started = attempt.started_at
            if started is None or not attempt.run_id:
                continue
            started = started if started.tzinfo else started.replace(tzinfo=UTC)
            begun[attempt.run_id] = max(started, begun.get(attempt.run_id, started))
    if not begun:
        return [], None
    newest = max(begun, key=begun.__getitem__)
    shard = shard_in(newest)
    if shard is None:
        return [newest], begun[newest]
    of_shards: dict[int, str] = {}
    for run_id in sorted(begun, key=begun.__getitem__):
        other = shard_in(run_id)
        if other is not None and other.count == shard.count:
            of_shards[other.index] = run_id
    return [of_shards[index] for index in sorted(of_shards)], begun[newest]
