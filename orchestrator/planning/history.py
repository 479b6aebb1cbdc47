"""Compare files, history and version table: what is applied, pending or wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

from orchestrator.hints import Command, Hint
from orchestrator.model import (
    HISTORY_FORMAT,
    Attempt,
    Direction,
    History,
    Migration,
    Origin,
    VersionRow,
)
from orchestrator.planning import problems
from orchestrator.planning.attempts import latest_effective, version_row_after, version_row_during
from orchestrator.planning.problems import FOLDED, VERSION, Problem
from orchestrator.planning.squash import (
    Squash,
    holds,
    squash_of,
)
from orchestrator.records import dataclass

ONLY_DOWN = "has only a down file: nothing runs for it on the way up, and it counts as applied, as in golang-migrate"
_PASSED_OVER = "has only a down file and is below the current version: nothing runs for it, as in golang-migrate"
UNWRITTEN = "is still as `orch new` wrote it: it is not applied until its up file says what to do"
"""What completes "version 3 …"."""


@dataclass(frozen=True, slots=True)
class State:
    """The state of a database: what is applied, pending or wrong.

    `adopt` and `forget` are versions that golang-migrate applied or took back since we last looked (part of, and not
    part of, `applied`). `partial` is an attempt that stopped half way. `version_row_stale`: the version table needs rewriting.
    `squashed` are versions that count as applied, and whose file replaces others that were applied one by one.
    `failed` are the newest attempts of pending versions, where they failed without a trace.
    """

    version: int | None = None
    dirty: bool = False
    applied: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()
    adopt: tuple[int, ...] = ()
    forget: tuple[int, ...] = ()
    partial: Attempt | None = None
    version_row_stale: bool = False
    squashed: tuple[int, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    failed: tuple[Attempt, ...] = ()

    @property
    def begun(self) -> int:
        """The newest version of which something has run: what is below it is late."""
        return max((*self.applied, *((self.partial.version,) if self.partial else ())), default=0)

    def blocked(self, direction: Direction) -> tuple[Problem, ...]:
        """Return the problems that forbid this direction."""
        return tuple(problem for problem in self.problems if direction in problem.blocks)


@dataclass(frozen=True, slots=True)
class _Followed:
    """The differences between golang-migrate's version table and our history: versions to adopt or forget, or a problem."""

    adopt: frozenset[int] = frozenset()
    forget: frozenset[int] = frozenset()
    stale: bool = False
    problem: Problem | None = None


def reconcile(migrations: Sequence[Migration], history: History, *, out_of_order: bool = False) -> State:
    """Decide what is applied, pending, changed, missing, partial or out of order.

    `migrations` are the files in order of version; `out_of_order` allows pending versions below an applied one.
    """
    files = {migration.version: migration for migration in migrations}
    latest = latest_effective(history.attempts)
    recorded = {v for v, r in latest.items() if r.done and r.direction is Direction.UP}
    partials = [r for r in latest.values() if not r.done]
    partial = partials[0] if partials else None
    if partial is not None and partial.direction is Direction.DOWN:
        recorded.discard(partial.version)

    found: list[Problem] = []
    if any(attempt.format > HISTORY_FORMAT for attempt in history.attempts):
        found.append(problems.newer_tool())
    if history.elsewhere:
        found.append(problems.elsewhere(history.elsewhere))
    found += [problems.second_partial(extra) for extra in partials[1:]]

    # First, what does golang-migrate's version table say that our history does not?
    followed = _follow(history, files, recorded, partial)
    if followed.problem:
        found.append(followed.problem)
    applied = (recorded | followed.adopt) - followed.forget
    version_row_stale = followed.stale
    if (followed.adopt or followed.forget) and history.version_row is not None:
        # golang-migrate passes over what is out of order; we do not
        version_row_stale = history.version_row.version != max(applied, default=None)

    # Then, are the files of what is applied still what ran?
    ours = {version: latest[version] for version in sorted(applied - followed.adopt)}
    notes: list[str] = []
    squashes = [_squash(m, applied, followed.adopt, ours.get(m.version)) for m in migrations if m.replaces]
    found += [problems.lacking(squash, files[squash.version]) for squash in squashes if squash.lacking]
    unadopted = {v: m for v, m in files.items() if v not in followed.adopt}
    found += _changed_files(unadopted, ours, squashes, notes)

    # Last, what is still to do?
    pending, in_the_way, more = _ahead(history, files, applied, partial, out_of_order=out_of_order)
    found += in_the_way
    notes += more
    if partial is not None:
        found.append(problems.cut_off(partial))
    return State(
        version=max(applied, default=None),
        dirty=bool(history.version_row and history.version_row.dirty),
        applied=tuple(sorted(applied)),
        pending=pending,
        adopt=tuple(sorted(followed.adopt)),
        forget=tuple(sorted(followed.forget)),
        partial=partial,
        version_row_stale=version_row_stale,
        squashed=tuple(squash.version for squash in squashes if squash.inside and squash.version in applied),
        problems=tuple(found),
        notes=tuple(notes),
        failed=tuple(_failed(history, pending)) if pending else (),
    )


def _failed(history: History, pending: Sequence[int]) -> Iterator[Attempt]:
    """Yield why a pending version is still pending, where the newest attempt of it failed without a trace."""
    wanted = set(pending)
    tries = [one for one in history.attempts if one.version in wanted]
    newest = {one.version: one for one in sorted(tries, key=lambda one: one.number)}
    for version in pending:
        one = newest.get(version)
        if one and one.error and not (one.done or one.applied or one.in_flight):
            yield one


def _follow(history: History, files: Mapping[int, Migration], applied: set[int], partial: Attempt | None) -> _Followed:
    """Compare golang-migrate's version table with the versions that are applied in our history."""
    version_row, top = history.version_row, max(applied, default=None)
    if history.rows:
        return _Followed(problem=problems.several_rows(history.rows, top))
    if version_row is None:
        return _Followed(stale=bool(latest_effective(history.attempts)))
    if partial is not None:
        known = _explains(partial, applied, version_row)
        return _Followed() if known else _Followed(problem=problems.forced(version_row, partial))
    if version_row.dirty:
        return _Followed(problem=problems.dirty(version_row, files))
    if version_row.version == top:
        return _Followed()
    version = version_row.version
    if version is None:
        return _Followed(forget=frozenset(applied))
    if version not in files:
        squash = next((one for one in files.values() if holds(one.replaces, version)), None)
        return _Followed(problem=problems.version_without_file(version, squash))
    if top is None or version > top:
        return _Followed(adopt=frozenset(v for v in files if (top is None or v > top) and v <= version))
    if version not in applied:
        return _Followed(problem=problems.never_seen(version))
    return _Followed(forget=frozenset(v for v in applied if v > version))


def _ahead(
    history: History,
    files: Mapping[int, Migration],
    applied: set[int],
    partial: Attempt | None,
    *,
    out_of_order: bool,
) -> tuple[tuple[int, ...], list[Problem], list[str]]:
    """Return the pending versions, their problems, and notes."""
    found: list[Problem] = []
    started = {partial.version} if partial else set()
    pending = tuple(v for v in sorted(files) if v not in applied and v not in started)
    if partial is not None and partial.direction is Direction.UP:
        pending = tuple(sorted({*pending, partial.version} & set(files)))
        if partial.version not in files or files[partial.version].up is None:
            found.append(problems.missing(partial))
    newest = max(applied, default=None)
    notes = [_without_up_file(v, newest) for v in pending if files[v].up is None and v not in started]
    held = [v for v in pending if files[v].unwritten and v not in started]
    notes += [f"version {v} {files[v].name} {UNWRITTEN}" for v in held]
    pending = tuple(v for v in pending if v not in held)
    pending = tuple(v for v in pending if files[v].up or newest is None or v > newest)
    row = history.version_row
    if history.emptied and pending and newest is None and not (row and row.version is not None):
        found.append(problems.emptied(pending[0]))
    begun = max((*applied, *started), default=0)
    late = [v for v in pending if v < begun and v not in started]
    if late and not out_of_order:
        found.append(problems.late(late, begun, files, in_part=begun in started))
    return pending, found, notes


def _without_up_file(version: int, newest: int | None) -> str:
    return f"version {version} {_PASSED_OVER if newest is not None and version < newest else ONLY_DOWN}"


def _changed_files(
    files: Mapping[int, Migration], ours: Mapping[int, Attempt], squashes: Sequence[Squash], notes: list[str]
) -> Iterator[Problem]:
    """Yield the applied versions whose files have changed since; harmless changes are added to `notes`."""
    covered = set().union(*(squash.covered for squash in squashes))
    moved = renumbered(
        {v: m for v, m in files.items() if not m.replaces}, {v: r for v, r in ours.items() if v not in covered}
    )
    on_top = set(_edited_on_top(files, ours))
    missing: list[Attempt] = []
    renamed: list[str] = []
    for version, attempt in ours.items():
        migration = files.get(version)
        if version in covered:
            continue
        if version in moved:
            yield problems.other_number(attempt, files[moved[version]])
        elif migration is None:
            missing += [] if attempt.origin is Origin.ACKNOWLEDGED else [attempt]
        elif migration.up is None:
            if attempt.checksum:
                notes.append(
                    f"the up file of version {version} ('{attempt.name}') is gone; it was applied{problems.when(attempt)}"
                )
        elif attempt.checksum and attempt.checksum != migration.up.checksum:
            yield problems.edited(attempt, migration.up.path, on_top=version in on_top)
        elif migration.up and _had_no_file(attempt):
            yield problems.added_late(attempt, migration.up.path)
        elif migration.name != attempt.name:
            renamed.append(f"version {version} was applied as '{attempt.name}' and is now called '{migration.name}'")
    yield from [problems.missing_files(missing)] if len(missing) > FOLDED else map(problems.missing, missing)
    notes += [f"{renamed[0]}, and so were {len(renamed) - 1} others"] if len(renamed) > FOLDED else renamed


def _edited_on_top(files: Mapping[int, Migration], ours: Mapping[int, Attempt]) -> Iterator[int]:
    """Yield the newest applied versions, down to the first whose files are those that ran: they can be rolled back."""
    for version in sorted(ours, reverse=True):
        migration, ran = files.get(version), ours[version].checksum
        if migration is None or not (migration.up and ran) or migration.up.checksum == ran:
            return
        yield version


def _squash(migration: Migration, applied: Set[int], adopted: Set[int], recorded: Attempt | None) -> Squash:
    """Return what a file that replaces others means here. What golang-migrate applied is whole: it passes over nothing."""
    checksum = migration.up.checksum if migration.up else ""
    itself = migration.version in adopted or (recorded is not None and recorded.checksum in ("", checksum))
    return squash_of(migration.version, migration.replaces, applied, itself=itself)


def renumbered(files: Mapping[int, Migration], applied: Mapping[int, Attempt]) -> dict[int, int]:
    """Return the applied versions whose file now has another number, with that number: a rebase does that.

    Its content is that of a file which is not applied, and its own version has no file any more, or another one. `applied`
    are the attempts that count.
    """
    pending: dict[str, list[int]] = {}
    for version, migration in files.items():
        if version not in applied and migration.up:
            pending.setdefault(migration.up.checksum, []).append(version)
    moved: dict[int, int] = {}
    for version, attempt in applied.items():
        file = files[version].up if version in files else None
        if (file is None or file.checksum != attempt.checksum) and pending.get(attempt.checksum):
            moved[version] = pending[attempt.checksum].pop(0)
    return moved


def unrecorded(history: History, state: State, id: str) -> Iterator[Hint]:
    """Yield a note if a database has objects but no history, before its first migration runs."""
    if history.unrecorded and state.pending:
        one = history.unrecorded == 1
        there = f"{history.unrecorded:,} {'table or collection is' if one else 'tables or collections are'} there"
        yield Hint(
            f"{there}, and no history: if these migrations made them, declare the last version that ran first: ",
            Command("baseline", id, "--version", VERSION),
        )


def _explains(partial: Attempt, applied: set[int], version_row: VersionRow) -> bool:
    """Whether our own partial attempt explains the version table, at whichever write it stopped."""
    if version_row.dirty:
        return version_row == version_row_during(applied, partial.version, partial.direction)
    if partial.applied == partial.total and not partial.in_flight:
        return version_row == version_row_after(applied, partial.version, partial.direction)
    if partial.applied == 0:
        opposite = Direction.DOWN if partial.direction is Direction.UP else Direction.UP
        return version_row == version_row_after(applied, partial.version, opposite)
    return False


def _had_no_file(attempt: Attempt) -> bool:
    """Whether a version counts as applied only because it had no up file."""
    return not attempt.checksum and attempt.origin is Origin.APPLIED and attempt.total == 0
