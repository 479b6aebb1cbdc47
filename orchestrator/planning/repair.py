"""Resolutions for states that a run cannot decide alone, and what each would record. Pure; never removes history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.errors import ConflictError, UsageError, some
from orchestrator.hints import Command, Hint
from orchestrator.model import Attempt, Direction, History, Migration, Origin, VersionRow
from orchestrator.planning.attempts import latest_effective, next_attempt, pointer_after, pointer_during, prefix_landed
from orchestrator.planning.history import State, reconcile, renumbered
from orchestrator.planning.problems import Kind, Problem, row_key, spoken
from orchestrator.planning.squash import Ranges, holds, ranges_of, replaced_by, spoken_versions, written


@dataclass(frozen=True, slots=True)
class Signature:
    """Who repairs, recorded with every repair; and why, if they say so."""

    actor: str
    run_id: str
    tool: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """One sensible way on: the flag that chooses it, what it means, and what it would record."""

    flag: str
    what: str
    attempts: tuple[Attempt, ...]
    version_row: VersionRow | None

    def command(self, id: str) -> Command:
        """Return the command that applies it to a database."""
        kind, _, value = self.flag.partition(" ")
        return Command("repair", id, f"--{kind}", *filter(None, [value]))


def resolutions(migrations: Sequence[Migration], history: History, by: Signature) -> tuple[Resolution, ...]:
    """Return the ways on from this state; none if there is nothing to repair."""
    state = reconcile(migrations, history, out_of_order=True)
    kinds = {problem.kind for problem in state.problems}
    if Kind.NEWER_TOOL in kinds:  # what we do not understand we do not mend
        return ()
    if Kind.ELSEWHERE in kinds:
        return (_here(history, by),)
    if Kind.SEVERAL_ROWS in kinds:  # first of all: what else is wrong shows once there is one row
        return tuple(_keep(row) for row in history.rows)
    if Kind.EMPTIED in kinds:
        return (_nothing_applied(migrations, history, state.pending[0], by),)
    found = _of_one_version(migrations, history, state, by)
    for version, number in _moved(migrations, history, state.problems).items():
        found.append(_renumber(migrations, history, version, number, by))
    for problem in state.problems:
        if problem.kind is Kind.EDITED and problem.version is not None:
            found.append(_accept(migrations, history, problem.version, by))
    if state.partial is None and not state.blocked(Direction.DOWN):
        known = acknowledge(migrations, history, ranges_of(_gone(migrations, history)), by)
        found += [] if known is None else [known]
        if known is not None and state.version in _gone(migrations, history):
            found += _marks(migrations, history, state.version or 0, by)[1:]
    return tuple(found)


def _of_one_version(migrations: Sequence[Migration], history: History, state: State, by: Signature) -> list[Resolution]:
    """Return the ways on for the version that is half done, dirty, unknown or without a file."""
    kinds = {problem.kind for problem in state.problems}
    row, partial = history.version_row, state.partial
    found: list[Resolution] = []
    if partial is not None:
        if partial.in_flight:
            found += _in_doubt(history, partial, by)
        elif Kind.FORCED in kinds:
            found.append(_continue(history, partial, by))
        found += _marks(migrations, history, partial.version, by)
    elif Kind.DIRTY in kinds and row is not None:
        for version in _suspects(migrations, row):
            found += _marks(migrations, history, version, by)
    elif Kind.FORCED in kinds and row is not None and row.version is not None:
        found += _marks(migrations, history, row.version, by)
    elif (below := _highest_below(migrations, history, state.problems)) is not None:
        found += _below(migrations, history, below, by)
    elif state.version in {one.version for one in migrations} and _on_trust(history, state.problems, state.version):
        found += _marks(migrations, history, state.version, by)[1:]
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
        found.append(_marks(migrations, history, state.version or 0, by)[1])
    if state.partial is not None or state.blocked(Direction.UP):
        return tuple(found)
    if not any(latest[version].origin is not Origin.ACKNOWLEDGED for version in gone if version not in state.squashed):
        found += [_marks(migrations, history, version, by)[0] for version in state.pending[:1]]
    for version in (migration.version for migration in migrations):
        if version in state.applied and version not in state.adopt and latest[version].origin is Origin.MARKED:
            found += _marks(migrations, history, version, by)[1:]
    return tuple(found)


def _gone(migrations: Sequence[Migration], history: History) -> list[int]:
    """Return the versions that are applied and have no file, nor one that replaces them."""
    replaced = {migration.version: migration.replaces for migration in migrations}
    files = replaced.keys()
    return [v for v in sorted(_applied(history)) if v not in files and replaced_by(replaced, v) is None]


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
    records = tuple(
        _going_on(history, latest[version], by)._replace(origin=Origin.ACKNOWLEDGED) for version in versions
    )
    what = f"{spoken_versions(versions)} {'is' if len(versions) == 1 else 'are'} applied and without files on purpose"
    return Resolution(f"acknowledge {written(ranges_of(versions)).replace(', ', ',')}", what, records, None)


def marked_range(migrations: Sequence[Migration], history: History, ranges: Ranges, by: Signature) -> Resolution | None:
    """Return what takes all pending versions among these as applied; None unless they are the next ones, without a gap."""
    pending = reconcile(migrations, history, out_of_order=True).pending
    versions = [version for version in pending if holds(ranges, version)]
    if not versions or list(pending[: len(versions)]) != versions:
        return None
    attempts: tuple[Attempt, ...] = ()
    version_row = history.version_row
    for version in versions:
        one = next((way for way in on_request(migrations, history, by) if way.flag == f"mark-applied {version}"), None)
        if one is None:
            return None
        attempts, version_row = (*attempts, *one.attempts), one.version_row
        history = history._replace(attempts=(*history.attempts, *one.attempts), version_row=version_row)
    what = f"all of {spoken_versions(versions)} is in the database (you looked, or made it by hand)"
    return Resolution(f"mark-applied {written(ranges)}", what, attempts, version_row)


def next_applied(found: Sequence[Resolution]) -> Resolution | None:
    """Return the way, of those on request, that takes the next pending version as applied."""
    return next((resolution for resolution in found if resolution.flag.startswith("mark-applied ")), None)


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
        _record(history, migration, by, Origin.BASELINE) for migration in migrations if migration.version <= version
    )
    return Resolution("version", f"versions up to {version} count as applied", attempts, VersionRow(version))


def _here(history: History, by: Signature) -> Resolution:
    """Return the record that the rows are of the database in which they are: the newest attempt that counts, once more."""
    latest = list(latest_effective(history.attempts).values()) or sorted(history.attempts)
    last = next((attempt for attempt in latest if not attempt.done), latest[-1])
    moved = _going_on(history, last, by)._replace(origin=Origin.MOVED)
    return Resolution("here", "these records are of this database from now on", (moved,), None)


def _keep(row: VersionRow) -> Resolution:
    return Resolution(
        f"keep-version {row_key(row)}",
        f"the row of {spoken(row.version)} is right: the others are removed from the version table",
        (),
        row,
    )


def _nothing_applied(migrations: Sequence[Migration], history: History, first: int, by: Signature) -> Resolution:
    """Return what records that a database with an emptied history begins at nothing."""
    attempts, version_row = _marked(migrations, history, first, by, applied=False)
    return Resolution(
        f"mark-not-applied {first}",
        f"nothing is applied: every migration runs, from version {first} on",
        attempts,
        version_row,
    )


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
    top = max(_applied(history), default=None)
    between = [m.version for m in migrations if top is not None and top < m.version < below]
    found = _marks(migrations, history, below, by)[:1] if not between else []
    if top is not None and top != below:
        row = VersionRow(top)
        what = f"the database is at version {top}, as orch's own history says: the version table is set back to that"
        found.append(Resolution(f"keep-version {row_key(row)}", what, (), row))
    return found


def _on_trust(history: History, problems: Sequence[Problem], version: int) -> bool:
    """Whether the newest version counts as applied by a person's word alone, or with a file that is no longer what ran."""
    if any(problem.kind is Kind.EDITED and problem.version == version for problem in problems):
        return True
    attempt = latest_effective(history.attempts).get(version)
    return attempt is not None and attempt.origin in (Origin.MARKED, Origin.BASELINE)


def _marks(migrations: Sequence[Migration], history: History, version: int, by: Signature) -> list[Resolution]:
    return [
        Resolution(
            f"mark-applied {version}",
            f"all of version {version} is in the database (you have checked it, or completed it manually)",
            *_marked(migrations, history, version, by, applied=True),
        ),
        Resolution(
            f"mark-not-applied {version}",
            f"nothing of version {version} is in the database (you have checked it, or removed it manually)",
            *_marked(migrations, history, version, by, applied=False),
        ),
    ]


def _marked(
    migrations: Sequence[Migration], history: History, version: int, by: Signature, *, applied: bool
) -> tuple[tuple[Attempt, ...], VersionRow]:
    """Return what records that a version is, or is not, applied, with all that golang-migrate did before it."""
    latest = latest_effective(history.attempts)
    recorded = {v for v, r in latest.items() if r.done and r.direction is Direction.UP}
    wanted = set(recorded)
    version_row = history.version_row
    if version_row is not None and not any(not r.done for r in latest.values()):
        at = -1 if version_row.version is None else version_row.version
        below = {v for v in recorded if v <= at}
        top = max(recorded if version_row.dirty else below, default=-1)
        before = {m.version for m in migrations if top < m.version <= at}
        wanted = below | (before if applied or version_row.dirty or version < at else set())
    wanted = wanted | {version} if applied else wanted - {version}
    attempts = []
    for migration in migrations:
        if migration.version == version:
            record = _record(history, migration, by, Origin.MARKED)
            attempts.append(record if applied else record._replace(direction=Direction.DOWN))
        elif migration.version in wanted - recorded:
            attempts.append(_record(history, migration, by, Origin.ADOPTED))
        elif migration.version in recorded - wanted:
            attempts.append(_record(history, migration, by, Origin.ADOPTED)._replace(direction=Direction.DOWN))
    for gone in (
        recorded - wanted - {migration.version for migration in migrations}
    ):  # taken back, and its file is gone too
        ours = Migration(gone, latest[gone].name)
        word = Origin.MARKED if gone == version else Origin.ADOPTED
        attempts.append(_record(history, ours, by, word)._replace(direction=Direction.DOWN))
    return tuple(attempts), VersionRow(max(wanted, default=None))


def _going_on(history: History, partial: Attempt, by: Signature) -> Attempt:
    """Return a new attempt that goes on from one that stopped half way, which stays as it is."""
    attempt = next_attempt(history.attempts, partial.version)
    return partial._replace(number=attempt, actor=by.actor, run_id=by.run_id, tool=by.tool, reason=by.reason, error="")


def _in_doubt(history: History, partial: Attempt, by: Signature) -> list[Resolution]:
    number = partial.applied + 1
    signed = _going_on(history, partial, by)._replace(in_flight=False)
    done = signed._replace(applied=number, prefix=prefix_landed(partial, done=True))
    not_done = signed._replace(prefix=prefix_landed(partial, done=False))
    return [
        Resolution("statement-done", f"statement {number} was executed: continue after it", (done,), None),
        Resolution(
            "statement-not-done",
            f"statement {number} was not executed: execute it again",
            (not_done,),
            # Of the very first one: then nothing of the version is done, and the version table must not stay dirty.
            _before(history, partial) if partial.applied == 0 else None,
        ),
    ]


def _continue(history: History, partial: Attempt, by: Signature) -> Resolution:
    applied = _applied(history)
    return Resolution(
        "continue",
        f"version {partial.version} is as it was when it stopped: continue at statement {partial.applied + 1} of {partial.total}",
        (_going_on(history, partial, by),),
        pointer_during(applied, partial.version, partial.direction),
    )


def _accept(migrations: Sequence[Migration], history: History, version: int, by: Signature) -> Resolution:
    migration = next(m for m in migrations if m.version == version)
    path = migration.up.path if migration.up else ""
    record = _record(history, migration, by, Origin.MARKED)
    return Resolution(f"accept {path}", f"the current content of {path} counts as applied", (record,), None)


def accepted(found: Sequence[Resolution]) -> list[Resolution]:
    """Return those resolutions that accept the edit of a file."""
    return [resolution for resolution in found if resolution.flag.startswith("accept ")]


def together(found: Sequence[Resolution]) -> Resolution:
    """Return one resolution that accepts several edits."""
    if len(found) == 1:
        return found[0]
    paths = [resolution.flag.removeprefix("accept ") for resolution in found]
    records = tuple(record for resolution in found for record in resolution.attempts)
    what = f"the edits of {len(paths)} files change nothing that matters here: {some(paths)}"
    return Resolution(f"accept {' '.join(paths)}", what, records, None)


def _moved(migrations: Sequence[Migration], history: History, problems: Sequence[Problem]) -> dict[int, int]:
    """Return the applied versions whose file has another number now, each with that number."""
    versions = {problem.version for problem in problems if problem.kind is Kind.RENUMBERED}
    latest = latest_effective(history.attempts)
    applied = {v: latest[v] for v in _applied(history)}
    moved = renumbered({migration.version: migration for migration in migrations}, applied)
    return {version: number for version, number in moved.items() if version in versions}


def _renumber(
    migrations: Sequence[Migration], history: History, version: int, number: int, by: Signature
) -> Resolution:
    """Return what records a file under its new number: it is applied there, and its old number is not."""
    migration = next(m for m in migrations if m.version == number)
    old = next((m for m in migrations if m.version == version), Migration(version, ""))
    name = latest_effective(history.attempts)[version].name
    gone = _record(history, old._replace(name=name), by, Origin.MARKED)._replace(direction=Direction.DOWN)
    applied = (_applied(history) - {version}) | {number}
    return Resolution(
        f"renumber {version}={number}",
        f"the file that was applied as version {version} is version {number} now, and is applied",
        (gone, _record(history, migration, by, Origin.MARKED)),
        VersionRow(max(applied)) if history.version_row is not None and not history.version_row.dirty else None,
    )


def _before(history: History, partial: Attempt) -> VersionRow:
    opposite = Direction.DOWN if partial.direction is Direction.UP else Direction.UP
    return pointer_after(_applied(history), partial.version, opposite)


def _applied(history: History) -> set[int]:
    latest = latest_effective(history.attempts)
    return {v for v, r in latest.items() if r.done and r.direction is Direction.UP}


def _record(history: History, migration: Migration, by: Signature, origin: Origin) -> Attempt:
    return Attempt(
        version=migration.version,
        number=next_attempt(history.attempts, migration.version),
        name=migration.name,
        direction=Direction.UP,
        checksum=migration.up.checksum if migration.up else "",
        done=True,
        origin=origin,
        actor=by.actor,
        run_id=by.run_id,
        tool=by.tool,
        reason=by.reason,
    )
