"""Resolutions for states that a run cannot decide alone, and what each would record. Pure; never removes history."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.errors import ConflictError, UsageError
from orchestrator.hints import Command, Hint
from orchestrator.model import Attempt, Direction, History, Migration, Origin, VersionRow
from orchestrator.phrases import some
from orchestrator.planning.attempts import latest_effective
from orchestrator.planning.history import State, reconcile, renumbered
from orchestrator.planning.problems import Kind, Problem, row_key, spoken
from orchestrator.planning.resolution import (
    Resolution,
    Signature,
    accept,
    applied_versions,
    continued,
    going_on,
    in_doubt,
    keep_row,
    marks,
    moved_here,
    nothing_applied,
    record_of,
    renumber,
)
from orchestrator.planning.squash import Ranges, holds, ranges_of, replaced_by, spoken_versions, written


def resolutions(migrations: Sequence[Migration], history: History, by: Signature) -> tuple[Resolution, ...]:
    """Return the ways on from this state; none if there is nothing to repair."""
    state = reconcile(migrations, history, out_of_order=True)
    kinds = {problem.kind for problem in state.problems}
    if Kind.NEWER_TOOL in kinds:  # what we do not understand we do not mend
        return ()
    if Kind.ELSEWHERE in kinds:
        return (moved_here(history, by),)
    if Kind.SEVERAL_ROWS in kinds:  # first of all: what else is wrong shows once there is one row
        return tuple(keep_row(row) for row in history.rows)
    if Kind.EMPTIED in kinds:
        return (nothing_applied(migrations, history, state.pending[0], by),)
    found = _of_one_version(migrations, history, state, by)
    for version, number in _moved(migrations, history, state.problems).items():
        found.append(renumber(migrations, history, version, number, by))
    for problem in state.problems:
        if problem.kind is Kind.EDITED and problem.version is not None:
            found.append(accept(migrations, history, problem.version, by))
    if state.partial is None and not state.blocked(Direction.DOWN):
        known = acknowledge(migrations, history, ranges_of(_gone(migrations, history)), by)
        found += [] if known is None else [known]
        if known is not None and state.version in _gone(migrations, history):
            found += marks(migrations, history, state.version or 0, by)[1:]
    return tuple(found)


def _of_one_version(migrations: Sequence[Migration], history: History, state: State, by: Signature) -> list[Resolution]:
    """Return the ways on for the version that is half done, dirty, unknown or without a file."""
    kinds = {problem.kind for problem in state.problems}
    row, partial = history.version_row, state.partial
    found: list[Resolution] = []
    if partial is not None:
        if partial.in_flight:
            found += in_doubt(history, partial, by)
        elif Kind.FORCED in kinds:
            found.append(continued(history, partial, by))
        found += marks(migrations, history, partial.version, by)
    elif Kind.DIRTY in kinds and row is not None:
        for version in _suspects(migrations, row):
            found += marks(migrations, history, version, by)
    elif Kind.FORCED in kinds and row is not None and row.version is not None:
        found += marks(migrations, history, row.version, by)
    elif (below := _highest_below(migrations, history, state.problems)) is not None:
        found += _below(migrations, history, below, by)
    elif state.version in {one.version for one in migrations} and _on_trust(history, state.problems, state.version):
        found += marks(migrations, history, state.version, by)[1:]
    return found


def on_request(migrations: Sequence[Migration], history: History, by: Signature) -> tuple[Resolution, ...]:
    """Return what a person may declare though nothing is wrong: that the next pending version is in the database, made by
    hand, and that one which counts as applied by such a word alone is not. Nobody is asked to.
    """
    state = reconcile(migrations, history, out_of_order=True)
    latest = latest_effective(history.attempts)
    found: list[Resolution] = []
    gone = _gone(migrations, history)
    if state.partial is None and state.version in gone:
        found.append(marks(migrations, history, state.version or 0, by)[1])
    if state.partial is not None or state.blocked(Direction.UP):
        return tuple(found)
    if not any(latest[version].origin is not Origin.ACKNOWLEDGED for version in gone if version not in state.squashed):
        found += [marks(migrations, history, version, by)[0] for version in state.pending[:1]]
    for version in (migration.version for migration in migrations):
        if version in state.applied and version not in state.adopt and latest[version].origin is Origin.MARKED:
            found += marks(migrations, history, version, by)[1:]
    return tuple(found)


def _gone(migrations: Sequence[Migration], history: History) -> list[int]:
    """Return the versions that are applied and have no file, nor one that replaces them."""
    replaced = {migration.version: migration.replaces for migration in migrations}
    files = replaced.keys()
    return [v for v in sorted(applied_versions(history)) if v not in files and replaced_by(replaced, v) is None]


def acknowledge(migrations: Sequence[Migration], history: History, ranges: Ranges, by: Signature) -> Resolution | None:
    """Return what records that these versions are applied and have no file any more, as is meant; None if there are none."""
    latest = latest_effective(history.attempts)
    versions = [
        version
        for version in _gone(migrations, history)
        if holds(ranges, version) and latest[version].origin is not Origin.ACKNOWLEDGED
    ]
    if not versions:
        return None
    records = tuple(going_on(history, latest[version], by)._replace(origin=Origin.ACKNOWLEDGED) for version in versions)
    what = f"{spoken_versions(versions)} {'is' if len(versions) == 1 else 'are'} applied and without files on purpose"
    return Resolution("acknowledge", what, records, None, (written(ranges_of(versions)).replace(", ", ","),))


def marked_range(migrations: Sequence[Migration], history: History, ranges: Ranges, by: Signature) -> Resolution | None:
    """Return what takes all pending versions among these as applied; None unless they are the next ones, without a gap."""
    pending = reconcile(migrations, history, out_of_order=True).pending
    versions = [version for version in pending if holds(ranges, version)]
    if not versions or list(pending[: len(versions)]) != versions:
        return None
    attempts: tuple[Attempt, ...] = ()
    version_row = history.version_row
    for version in versions:
        ways = on_request(migrations, history, by)
        one = next((way for way in ways if way.flag == f"mark-applied {version}"), None)
        if one is None:
            return None
        attempts, version_row = (*attempts, *one.attempts), one.version_row
        history = history._replace(attempts=(*history.attempts, *one.attempts), version_row=version_row)
    what = f"all of {spoken_versions(versions)} is in the database (you looked, or made it by hand)"
    return Resolution("mark-applied", what, attempts, version_row, (written(ranges),))


def next_applied(found: Sequence[Resolution]) -> Resolution | None:
    """Return the way, of those on request, that takes the next pending version as applied."""
    return next((resolution for resolution in found if resolution.option == "mark-applied"), None)


def baseline(id: str, migrations: Sequence[Migration], history: History, version: int, by: Signature) -> Resolution:
    """Return the records that declare everything up to a version as applied. ConflictError if anything is, or is wrong."""
    state = reconcile(migrations, history, out_of_order=True)
    problems = [problem for problem in state.problems if problem.kind is not Kind.EMPTIED]
    if state.applied or problems:
        following = next_applied(on_request(migrations, history, by))
        raise ConflictError(
            f"{id} already has a migration history",
            detail=problems[0].what if problems else f"it is at {spoken(state.version)}",
            hint=Hint(
                Command("status"),
                " shows it; a baseline is for a database without applied migrations",
                *(("\nif the next pending version is in the database: ", following.command(id)) if following else ()),
            ),
        )
    if version not in {migration.version for migration in migrations}:
        raise UsageError(f"there is no migration with version {version}", hint="ls the migrations directory")
    attempts = tuple(
        record_of(history, migration, by, Origin.BASELINE) for migration in migrations if migration.version <= version
    )
    return Resolution("version", f"versions up to {version} count as applied", attempts, VersionRow(version))


def _suspects(migrations: Sequence[Migration], version_row: VersionRow) -> list[int]:
    """Return the versions whose file golang-migrate may have been running: its own up, or the down of the one above."""
    at = -1 if version_row.version is None else version_row.version
    versions = [migration.version for migration in migrations]
    above = min((version for version in versions if version > at), default=None)
    return [version for version in (at, above) if version in versions and version is not None]


def _highest_below(migrations: Sequence[Migration], history: History, problems: Sequence[Problem]) -> int | None:
    """Return the last applied version that has a file, if the version table names one that has none."""
    version_row = history.version_row
    if version_row is None or not any(p.kind is Kind.MISSING and p.version == version_row.version for p in problems):
        return None
    if version_row.version is None or any(r.version == version_row.version for r in history.attempts):
        return None
    return max((m.version for m in migrations if m.version < version_row.version), default=None)


def _below(migrations: Sequence[Migration], history: History, below: int, by: Signature) -> list[Resolution]:
    """Return the ways on where the version table is at a version that has no file; none passes over what never ran."""
    top = max(applied_versions(history), default=None)
    between = [m.version for m in migrations if top is not None and top < m.version < below]
    found = marks(migrations, history, below, by)[:1] if not between else []
    if top is not None and top != below:
        row = VersionRow(top)
        what = f"the database is at version {top}, as orch's own history says: the version table is set back to that"
        found.append(Resolution("keep-version", what, (), row, (str(row_key(row)),)))
    return found


def _on_trust(history: History, problems: Sequence[Problem], version: int) -> bool:
    """Whether the newest version counts as applied by a person's word alone, or with a file that is no longer what ran."""
    if any(problem.kind is Kind.EDITED and problem.version == version for problem in problems):
        return True
    attempt = latest_effective(history.attempts).get(version)
    return attempt is not None and attempt.origin in (Origin.MARKED, Origin.BASELINE)


def accepted(found: Sequence[Resolution]) -> list[Resolution]:
    """Return those resolutions that accept the edit of a file."""
    return [resolution for resolution in found if resolution.option == "accept"]


def together(found: Sequence[Resolution]) -> Resolution:
    """Return one resolution that accepts several edits."""
    if len(found) == 1:
        return found[0]
    paths = [path for resolution in found for path in resolution.values]
    records = tuple(record for resolution in found for record in resolution.attempts)
    what = f"the edits of {len(paths)} files change nothing that matters here: {some(paths)}"
    return Resolution("accept", what, records, None, tuple(paths))


def _moved(migrations: Sequence[Migration], history: History, problems: Sequence[Problem]) -> dict[int, int]:
    """Return the applied versions whose file has another number now, each with that number."""
    versions = {problem.version for problem in problems if problem.kind is Kind.RENUMBERED}
    latest = latest_effective(history.attempts)
    applied = {v: latest[v] for v in applied_versions(history)}
    moved = renumbered({migration.version: migration for migration in migrations}, applied)
    return {version: number for version, number in moved.items() if version in versions}
