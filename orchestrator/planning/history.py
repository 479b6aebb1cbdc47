"""Files, history and version table in; what is applied, pending or wrong out. One pure function decides it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from shlex import quote

from orchestrator.errors import some
from orchestrator.model import (
    HISTORY_FORMAT,
    Attempt,
    Direction,
    History,
    Migration,
    Origin,
    Script,
    VersionRow,
)
from orchestrator.planning.squash import (
    MANY,
    Squash,
    ranges_of,
    replaced_by,
    spoken_versions,
    squash_of,
    written,
)

IN_DOUBT = "it cannot be told whether it was done"
"""How the error of an attempt begins that waits for a person: only one who looks knows what became of a statement."""


ONLY_DOWN = "has only a down file: nothing runs for it on the way up, and it counts as applied, as in golang-migrate"
PASSED_OVER = "has only a down file and is below the current version: nothing runs for it, as in golang-migrate"
"""What completes "version 3 …"."""


class Kind(Enum):
    """What can be wrong with a database, as machines read it."""

    DIRTY = "dirty"
    FORCED = "forced"
    EDITED = "edited"
    MISSING = "missing"
    OUT_OF_ORDER = "out_of_order"
    PARTIAL = "partial"
    IN_FLIGHT = "in_flight"
    NEWER_TOOL = "newer_tool"
    SEVERAL_ROWS = "several_rows"
    EMPTIED = "emptied"
    SQUASHED = "squashed"
    RENUMBERED = "renumbered"
    ELSEWHERE = "elsewhere"


NAME = "\0"
"""Stands in a hint for the name of the database. No path and no name can hold it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be. `blocks` are the directions in which nothing may run because of it.

    `hint` holds NAME where the database's name belongs; people get `hint_for` their database.
    """

    kind: Kind
    what: str
    hint: str
    version: int | None = None
    blocks: tuple[Direction, ...] = (Direction.UP, Direction.DOWN)

    def hint_for(self, id: str) -> str:
        """Return the hint for a database, with commands that can be pasted."""
        return self.hint.replace(NAME, quote(id))


@dataclass(frozen=True, slots=True)
class State:
    """Where a database stands.

    `adopt` and `forget` are versions that golang-migrate applied or took back since we last looked (part of, and not
    part of, `applied`). `partial` is an attempt that stopped half way. `pointer_stale`: the version table needs rewriting.
    `squashed` are versions that count as applied, and whose file replaces others that were applied one by one.
    """

    version: int | None = None
    dirty: bool = False
    applied: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()
    adopt: tuple[int, ...] = ()
    forget: tuple[int, ...] = ()
    partial: Attempt | None = None
    pointer_stale: bool = False
    squashed: tuple[int, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def blocked(self, direction: Direction) -> tuple[Problem, ...]:
        """Return the problems that forbid this direction."""
        return tuple(problem for problem in self.problems if direction in problem.blocks)


def reconcile(migrations: Sequence[Migration], history: History, *, out_of_order: bool = False) -> State:
    """Decide what is applied, pending, changed, missing, partial or out of order.

    `migrations` are the files in order of version; `out_of_order` allows pending versions below an applied one.
    """
    files = {migration.version: migration for migration in migrations}
    latest = latest_effective(history.attempts)
    applied = {v for v, r in latest.items() if r.done and r.direction is Direction.UP}
    partials = [r for r in latest.values() if not r.done]
    partial = partials[0] if partials else None
    if partial is not None and partial.direction is Direction.DOWN:
        applied.discard(partial.version)

    problems: list[Problem] = []
    notes: list[str] = []
    adopt: set[int] = set()
    forget: set[int] = set()
    pointer_stale = False

    if any(attempt.format > HISTORY_FORMAT for attempt in history.attempts):
        problems.append(
            Problem(
                Kind.NEWER_TOOL, "its history was written by a newer orch", "upgrade orch to go on with this database"
            )
        )
    if history.elsewhere:
        problems.append(_elsewhere(history.elsewhere))
    for extra in partials[1:]:
        problems.append(_two_partials(extra))

    # First, what does golang-migrate's version table say that our history does not?
    version_row = history.version_row
    top = max(applied, default=None)
    if history.rows:
        problems.append(_several_rows(history.rows, top))
    elif version_row is None:
        pointer_stale = bool(latest)
    elif partial is not None:
        if not _explains(partial, applied, version_row):
            problems.append(_forced(version_row, partial))
    elif version_row.dirty:
        problems.append(_dirty(version_row, files))
    elif version_row.version != top:
        if version_row.version is not None and version_row.version not in files:
            replaced = replaced_by({m.version: m.replaces for m in migrations}, version_row.version)
            problems.append(_pointer_without_file(version_row.version, replaced))
        elif top is None or (version_row.version is not None and version_row.version > top):
            adopt = {v for v in files if (top is None or v > top) and v <= (version_row.version or 0)}
        elif version_row.version is not None and version_row.version not in applied:
            problems.append(_never_seen(version_row.version))
        else:
            forget = {v for v in applied if version_row.version is None or v > version_row.version}

    applied = (applied | adopt) - forget
    if (adopt or forget) and version_row is not None:  # golang-migrate passes over what is out of order; we do not
        pointer_stale = version_row.version != max(applied, default=None)

    # Then, are the files of what is applied still what ran?
    ours = {version: latest[version] for version in sorted(applied - adopt)}
    squashes = [_squash(m, applied, adopt, ours.get(m.version)) for m in migrations if m.replaces]
    problems += [_lacking(squash, files[squash.version]) for squash in squashes if squash.lacking]
    problems += _changed_files({v: m for v, m in files.items() if v not in adopt}, ours, squashes, notes)

    # Last, what is still to do?
    started = {partial.version} if partial else set()
    pending = tuple(v for v in sorted(files) if v not in applied and v not in started)
    if partial is not None and partial.direction is Direction.UP:
        pending = tuple(sorted({*pending, partial.version} & set(files)))
        if partial.version not in files or files[partial.version].up is None:
            problems.append(_missing(partial))
    newest = max(applied, default=None)
    for v in pending:
        if files[v].up is None and v not in started:
            passed = newest is not None and v < newest
            notes.append(f"version {v} {PASSED_OVER if passed else ONLY_DOWN}")
    pending = tuple(v for v in pending if files[v].up or newest is None or v > newest)
    if history.emptied and pending and newest is None and not (version_row and version_row.version is not None):
        problems.append(_emptied(pending[0]))
    late = [v for v in pending if newest is not None and v < newest and v not in started]
    if late and not out_of_order:
        problems.append(_out_of_order(late, newest or 0, files))
    if partial is not None:
        problems.append(_partial(partial))
    return State(
        version=newest,
        dirty=bool(version_row and version_row.dirty),
        applied=tuple(sorted(applied)),
        pending=pending,
        adopt=tuple(sorted(adopt)),
        forget=tuple(sorted(forget)),
        partial=partial,
        pointer_stale=pointer_stale,
        squashed=tuple(squash.version for squash in squashes if squash.inside and squash.version in applied),
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _changed_files(
    files: Mapping[int, Migration], ours: Mapping[int, Attempt], squashes: Sequence[Squash], notes: list[str]
) -> Iterator[Problem]:
    """Yield where the files of what is applied are not what ran; to `notes` goes what is no problem."""
    covered = set().union(*(squash.covered for squash in squashes))
    moved = renumbered(
        {v: m for v, m in files.items() if not m.replaces}, {v: r for v, r in ours.items() if v not in covered}
    )
    missing: list[Attempt] = []
    renamed: list[str] = []
    for version, attempt in ours.items():
        migration = files.get(version)
        if version in covered:
            continue
        if version in moved:
            yield _renumbered(attempt, files[moved[version]])
        elif migration is None:
            missing += [] if attempt.origin is Origin.ACKNOWLEDGED else [attempt]
        elif migration.up is None:
            if attempt.checksum:
                notes.append(
                    f"the up file of version {version} ('{attempt.name}') is gone; it was applied{_when(attempt)}"
                )
        elif attempt.checksum and attempt.checksum != migration.up.checksum:
            yield _edited(attempt, migration.up.path)
        elif migration.up and _had_no_file(attempt):
            yield _added_late(attempt, migration.up.path)
        elif migration.name != attempt.name:
            renamed.append(f"version {version} was applied as '{attempt.name}' and is now called '{migration.name}'")
    yield from [_missing_files(missing)] if len(missing) > FOLDED else map(_missing, missing)
    notes += [f"{renamed[0]}, and so were {len(renamed) - 1} others"] if len(renamed) > FOLDED else renamed


def _squash(migration: Migration, applied: set[int], adopted: set[int], recorded: Attempt | None) -> Squash:
    """Return what a file that replaces others means here. What golang-migrate applied is whole: it passes over nothing."""
    checksum = migration.up.checksum if migration.up else ""
    itself = migration.version in adopted or (recorded is not None and recorded.checksum in ("", checksum))
    return squash_of(migration.version, migration.replaces, applied, itself=itself)


def renumbered(files: Mapping[int, Migration], applied: Mapping[int, Attempt]) -> dict[int, int]:
    """Return the applied versions whose file now has another number, with the version that it has: a rebase does that.

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


def unrecorded(history: History, state: State, id: str) -> Iterator[str]:
    """Yield what to know before the first migration runs where something is, and nothing says how it came there."""
    if history.unrecorded and state.pending:
        yield (
            f"{history.unrecorded} table(s) or collection(s) are there, and no history: if these migrations made them, "
            f"first: orch baseline {id} --version <the last one that ran>"
        )


def latest_effective(attempts: Iterable[Attempt]) -> dict[int, Attempt]:
    """Return each version's newest attempt that had an effect.

    A try that failed without one changes nothing, but where it went on from an attempt that stopped half way: then
    nothing of that is left, and what counts is the last one that came to its end.
    """
    latest: dict[int, Attempt] = {}
    finished: dict[int, Attempt] = {}
    for attempt in sorted(attempts, key=lambda r: (r.version, r.number)):
        version = attempt.version
        if attempt.done:
            finished[version] = attempt
        if attempt.done or attempt.applied or attempt.in_flight:
            latest[version] = attempt
        elif version in latest and not latest[version].done and latest[version].direction is attempt.direction:
            latest.pop(version)
            if version in finished:
                latest[version] = finished[version]
    return dict(sorted(latest.items()))


def spoken(version: int | None) -> str:
    """Return a version as a sentence has it."""
    return "no version" if version is None else f"version {version}"


def next_attempt(attempts: Iterable[Attempt], version: int) -> int:
    """Return the attempt number that a new record of this version takes."""
    return max((r.number for r in attempts if r.version == version), default=0) + 1


def pointer_during(applied: Iterable[int], version: int, direction: Direction) -> VersionRow:
    """Return the version table while a file is half done: the version that is being reached, dirty.

    For a down that is the version below, and -1 below the first: golang-migrate's own convention (read from its source).
    """
    after = pointer_after(applied, version, direction).version
    return VersionRow(-1 if after is None else after, dirty=True)


def pointer_after(applied: Iterable[int], version: int, direction: Direction) -> VersionRow:
    """Return the version table once a version has gone in this direction, given what else is applied."""
    others = set(applied) - {version}
    return VersionRow(max(others | {version} if direction is Direction.UP else others, default=None))


def prefix_checksum(script: Script, count: int) -> str:
    """Return the checksum of a script's first `count` statements; '' for none. Line ends count as in a file's checksum."""
    if count == 0:
        return ""
    digest = hashlib.sha256()
    for statement in script.statements[:count]:
        digest.update(statement.source.replace("\r\n", "\n").encode() + b"\0")
    return "sha256:" + digest.hexdigest()


def prefix_in_flight(script: Script, count: int) -> str:
    """Return the checksums of a script's first `count` statements, and of those with the one that was begun after them."""
    return f"{prefix_checksum(script, count)}+{prefix_checksum(script, count + 1)}"


def prefix_landed(attempt: Attempt, *, done: bool) -> str:
    """Return the checksum of what is done, once it is known whether the statement that was begun is."""
    before, _, after = attempt.prefix.partition("+")
    return after if done else before


def resumable(attempt: Attempt, script: Script) -> bool:
    """Tell whether what a partial attempt already ran, or began, is unchanged in the file; the rest may differ."""
    count = attempt.applied + (1 if attempt.in_flight else 0)
    if count > len(script.statements):
        return False
    checksum = prefix_in_flight if attempt.in_flight else prefix_checksum
    return checksum(script, attempt.applied) == attempt.prefix


def digest(history: History) -> str:
    """Return a fingerprint of what a plan was made from."""
    facts = [
        history.exists,
        [history.version_row.version, history.version_row.dirty] if history.version_row else None,
        *([[[row.version, row.dirty] for row in history.rows]] if history.rows else []),
        [
            [r.version, r.number, r.direction.value, r.checksum, r.applied, r.in_flight, r.done]
            for r in latest_effective(history.attempts).values()
        ],
    ]
    return "sha256:" + hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _explains(partial: Attempt, applied: set[int], version_row: VersionRow) -> bool:
    """Whether our own half-done attempt explains what the version table says, wherever between two writes it died."""
    if version_row.dirty:
        return version_row == pointer_during(applied, partial.version, partial.direction)
    if partial.applied == partial.total and not partial.in_flight:
        return version_row == pointer_after(applied, partial.version, partial.direction)
    if partial.applied == 0:
        opposite = Direction.DOWN if partial.direction is Direction.UP else Direction.UP
        return version_row == pointer_after(applied, partial.version, opposite)
    return False


def _when(attempt: Attempt) -> str:
    when = attempt.finished_at or attempt.started_at
    text = f" on {when:%Y-%m-%d %H:%M:%S %Z}".rstrip() if when else ""
    return f"{text} by {attempt.actor}" if attempt.actor else text


def _dirty(version_row: VersionRow, files: dict[int, Migration]) -> Problem:
    # The row holds the version that was being reached: by its up file, or by the down file of the version above.
    at = -1 if version_row.version is None else version_row.version
    above = min((v for v in files if v > at), default=None)
    ways = [f"version {version_row.version} up"] if version_row.version in files else []
    if above is not None:
        ways.append(f"version {above} down")
    return Problem(
        Kind.DIRTY,
        f"golang-migrate stopped half way and left it dirty at {spoken(version_row.version)}"
        + (f" (it was running {' or '.join(ways)})" if ways else ""),
        f"look at the schema, then: orch repair {NAME}",
        version_row.version,
    )


def _forced(version_row: VersionRow, partial: Attempt) -> Problem:
    return Problem(
        Kind.FORCED,
        f"version {partial.version} stopped half way ({partial.direction.value}, {partial.applied} of {partial.total} "
        f"statements), and somebody has since set the version table to {spoken(version_row.version)}",
        f"look at the schema, then: orch repair {NAME}",
        partial.version,
    )


def _never_seen(version: int) -> Problem:
    """golang-migrate went below what we know of, and came to rest on what we do not: its version table tells no more."""
    return Problem(
        Kind.FORCED,
        f"golang-migrate's version table went back to version {version}, which our history never saw applied: "
        "it may have run that file, or only have come down to it",
        f"look at the schema, then: orch repair {NAME}",
        version,
    )


def _elsewhere(told: str) -> Problem:
    """The rows may be true, as after a restore, or not, as where logical replication carries them to a subscriber."""
    return Problem(
        Kind.ELSEWHERE,
        f"{told}: it was restored or copied, or receives orch's tables by logical replication, or the DSN leads "
        "somewhere else than it should",
        f"if what these records say is true of this database: orch repair {NAME} --here "
        "(orch repair --here: of every database of the manifest); if not, correct the DSN, or remove the records",
    )


def _several_rows(rows: Sequence[VersionRow], top: int | None) -> Problem:
    """A restore of data alone leaves two: nobody can tell from them which version the database has."""
    said = " and ".join(spoken(row.version) + (" (dirty)" if row.dirty else "") for row in rows)
    choices = " or ".join(f"orch repair {NAME} --keep-version {row_key(row)}" for row in rows)
    return Problem(
        Kind.SEVERAL_ROWS,
        f"golang-migrate's version table has {len(rows)} rows, {said}, and only one can be true; "
        f"by orch's own history it is {spoken(top)}",
        f"look at the schema, then: {choices}",
    )


def row_key(row: VersionRow) -> int:
    """Return the number by which a row of the version table is chosen; -1, golang-migrate's own, for no version."""
    return -1 if row.version is None else row.version


def _emptied(first: int) -> Problem:
    """A copy of the schema alone, or a script that empties all tables: what ran before is not known."""
    return Problem(
        Kind.EMPTIED,
        "its history is there and holds no rows, as after a copy of the schema alone or a script that empties all tables: "
        "orch never leaves it so, and cannot tell what is applied",
        f"if these migrations made what is there: orch baseline {NAME} --version <the last one that ran>; "
        f"if nothing of them is there: orch repair {NAME} --mark-not-applied {first}",
    )


def _lacking(squash: Squash, migration: Migration) -> Problem:
    """It is neither before what the file replaces nor after it: it can neither run the file nor count as having it."""
    return Problem(
        Kind.SQUASHED,
        f"{migration.up.path if migration.up else migration.name} replaces {written(migration.replaces)}, "
        f"and this database has only a part of that: it lacks {squash.lacking}",
        "apply a release that still has those files to this database first, then this one; "
        "if such a version never existed, leave it out of what the file says that it replaces",
        squash.version,
        blocks=(Direction.UP,),
    )


def _pointer_without_file(version: int, replaced: int | None) -> Problem:
    if replaced is not None:
        lacking = spoken_versions(range(version + 1, replaced + 1)) if replaced - version <= MANY else "the rest"
        return Problem(
            Kind.SQUASHED,
            f"golang-migrate's version table is at version {version}, which the file of version {replaced} replaces: "
            f"the database lacks {lacking}",
            "apply a release that still has those files to this database first, then this one",
            version,
        )
    return Problem(
        Kind.MISSING,
        f"golang-migrate's version table is at version {version}, and there is no such file",
        f"bring the file back (a branch that is not merged?), or: orch repair {NAME}",
        version,
    )


def _missing(attempt: Attempt) -> Problem:
    return Problem(
        Kind.MISSING,
        f"version {attempt.version} ('{attempt.name}') was applied{_when(attempt)}, and its file is gone",
        f"restore the file, of another branch or an older release; {_GONE}"
        + (f"orch repair {NAME} --acknowledge {attempt.version}" if attempt.done else f"orch repair {NAME}"),
        attempt.version,
        blocks=() if attempt.done else (Direction.UP, Direction.DOWN),  # past it is refused where a down is planned
    )


_GONE = "without it nothing can be rolled back past this version. If it is meant to be gone: "
FOLDED = 3
"""So many versions of which the same is to be said get a sentence each; more of them share one."""


def _missing_files(attempts: Sequence[Attempt]) -> Problem:
    versions = [attempt.version for attempt in attempts]
    said = written(ranges_of(versions)).replace(", ", ",")
    return Problem(
        Kind.MISSING,
        f"{spoken_versions(versions)} were applied, the last{_when(attempts[-1])}, and their files are gone",
        "restore the files, of another branch or an older release; nothing can be rolled back past these versions. "
        f"If they are meant to be gone: orch repair {NAME} --acknowledge {said}",
        versions[-1],
        blocks=(),
    )


def _renumbered(attempt: Attempt, migration: Migration) -> Problem:
    path = migration.up.path if migration.up else ""
    return Problem(
        Kind.RENUMBERED,
        f"{path} is the file that was applied as version {attempt.version} ('{attempt.name}'){_when(attempt)}: "
        "it has another number now, and would run a second time",
        f"orch repair {NAME} --renumber {attempt.version}={migration.version} records that it is applied; "
        f"or give the file its number {attempt.version} back",
        attempt.version,
    )


def _edited(attempt: Attempt, path: str) -> Problem:
    return Problem(
        Kind.EDITED,
        f"{path} was edited after it was applied{_when(attempt)}",
        f"write a new migration instead, or after a look: orch repair {NAME} --accept {quote(path)}",
        attempt.version,
    )


def _had_no_file(attempt: Attempt) -> bool:
    """Whether a version counts as applied only because it had no up file."""
    return not attempt.checksum and attempt.origin is Origin.APPLIED and attempt.total == 0


def _added_late(attempt: Attempt, path: str) -> Problem:
    return Problem(
        Kind.EDITED,
        f"{path} was added after version {attempt.version} was applied without an up file{_when(attempt)}: it never ran",
        f"give it a version above the current one, or after a look: orch repair {NAME} --accept {quote(path)}",
        attempt.version,
    )


def _out_of_order(late: list[int], newest: int, files: dict[int, Migration]) -> Problem:
    names = some([f"{v} ('{files[v].name}')" for v in late], 10)
    return Problem(
        Kind.OUT_OF_ORDER,
        f"pending below the current version {newest}: {names}",
        f"give it a version above {newest}, or run it all the same, this once: orch apply --allow-out-of-order "
        "(always: 'out_of_order: apply' in the manifest)",
        late[0],
        blocks=(Direction.UP,),
    )


def _two_partials(attempt: Attempt) -> Problem:
    return Problem(
        Kind.PARTIAL,
        f"version {attempt.version} stopped half way, and so did another",
        f"look at the schema, then: orch repair {NAME}",
        attempt.version,
    )


def _partial(partial: Attempt) -> Problem:
    """Describe a half-done attempt. It forbids only the other direction: its own continues it."""
    other = Direction.DOWN if partial.direction is Direction.UP else Direction.UP
    command = "orch apply" if partial.direction is Direction.UP else f"orch rollback {NAME} --steps 1"
    over = partial.applied >= partial.total and not partial.in_flight
    at = "its end" if over else f"statement {partial.applied + 1} of {partial.total}"
    reason = f": {partial.error}" if partial.error else ""
    if partial.in_flight:
        doubt = partial.error.startswith(IN_DOUBT)
        return Problem(
            Kind.IN_FLIGHT,
            f"version {partial.version} ({partial.direction.value}) was cut off at {at}"
            + (reason or "; the next run finds out whether it was done"),
            f"look whether it was done, then: orch repair {NAME} (or let orch look again: {command})"
            if doubt
            else f"continue: {command}",
            partial.version,
            blocks=(other,),
        )
    return Problem(
        Kind.PARTIAL,
        f"version {partial.version} ({partial.direction.value}) stopped at {at}{reason}",
        f"mend the cause, then continue: {command}",
        partial.version,
        blocks=(other,),
    )
