"""What can be wrong with a database, as machines and as people read it: one function a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from orchestrator.hints import NAME, Blank, Command, Hint, hint_of, joined
from orchestrator.model import (
    Attempt,
    Direction,
    Migration,
    VersionRow,
)
from orchestrator.phrases import some
from orchestrator.planning.squash import (
    Squash,
    above,
    ranges_of,
    spoken_versions,
    written,
)
from orchestrator.records import dataclass

IN_DOUBT = "it cannot be told whether it was done"
"""How the error of an attempt begins that waits for a person: only one who looks knows what became of a statement."""


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


VERSION = Blank("VERSION")
_REPAIR = Command("repair", NAME)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be. `blocks` are the directions in which nothing may run because of it.

    The commands in `hint` hold NAME where the database's name belongs; people get `hint_for` their database.
    """

    kind: Kind
    what: str
    hint: str
    version: int | None = None
    blocks: tuple[Direction, ...] = (Direction.UP, Direction.DOWN)

    def hint_for(self, id: str) -> Hint:
        """Return the hint for a database, with commands that can be pasted."""
        return hint_of(self.hint).for_database(id)


def spoken(version: int | None) -> str:
    """Return a version as a sentence has it."""
    return "no version" if version is None else f"version {version}"


def when(attempt: Attempt) -> str:
    """Return when an attempt ended or began, and who made it, as the end of a sentence."""
    at = attempt.finished_at or attempt.started_at
    text = f" on {at:%Y-%m-%d %H:%M:%S %Z}".rstrip() if at else ""
    return f"{text} by {attempt.actor}" if attempt.actor else text


def newer_tool() -> Problem:
    """Return the problem of a history that this orch cannot read."""
    return Problem(
        Kind.NEWER_TOOL, "its history was written by a newer orch", "upgrade orch to go on with this database"
    )


def dirty(version_row: VersionRow, files: Mapping[int, Migration]) -> Problem:
    """Return the problem of a file of golang-migrate's that failed, or whose end it did not live to see."""
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
        Hint("look at the schema, then: ", _REPAIR),
        version_row.version,
    )


def forced(version_row: VersionRow, partial: Attempt) -> Problem:
    """Return the problem of a version table that was changed by hand while a file was half done."""
    return Problem(
        Kind.FORCED,
        f"version {partial.version} stopped half way ({partial.direction.value}, {partial.applied} of {partial.total} "
        f"statements), and somebody has since set the version table to {spoken(version_row.version)}",
        Hint("look at the schema, then: ", _REPAIR),
        partial.version,
    )


def never_seen(version: int) -> Problem:
    """golang-migrate went below what we know of, and came to rest on what we do not: its version table tells no more."""
    return Problem(
        Kind.FORCED,
        f"golang-migrate's version table went back to version {version}, which our history never saw applied: "
        "it may have run that file, or only have come down to it",
        Hint("look at the schema, then: ", _REPAIR),
        version,
    )


def elsewhere(told: str) -> Problem:
    """The rows may be true, as after a restore, or not, as where logical replication carries them to a subscriber."""
    return Problem(
        Kind.ELSEWHERE,
        f"{told}: it was restored or copied, moved by pg_upgrade, or receives orch's tables by logical replication, or the "
        "DSN leads somewhere else than it should",
        Hint(
            "if what these records say is true of this database: ",
            Command("repair", NAME, "--here"),
            " (of every database of the manifest: ",
            Command("repair", "--here"),
            "); if not, correct the DSN, or remove the records",
        ),
    )


def several_rows(rows: Sequence[VersionRow], top: int | None) -> Problem:
    """A restore of data alone leaves two: nobody can tell from them which version the database has."""
    said = " and ".join(spoken(row.version) + (" (dirty)" if row.dirty else "") for row in rows)
    choices = joined(" or ", [Hint(Command("repair", NAME, "--keep-version", row_key(row))) for row in rows])
    return Problem(
        Kind.SEVERAL_ROWS,
        f"golang-migrate's version table has {len(rows)} rows, {said}, and only one can be true; "
        f"by orch's own history it is {spoken(top)}",
        Hint("look at the schema, then: ", choices),
    )


def row_key(row: VersionRow) -> int:
    """Return the number by which a row of the version table is chosen; -1, golang-migrate's own, for no version."""
    return -1 if row.version is None else row.version


def emptied(first: int) -> Problem:
    """A copy of the schema alone, or a script that empties all tables: what ran before is not known."""
    return Problem(
        Kind.EMPTIED,
        "its history is there and holds no rows, as after a copy of the schema alone or a script that empties all tables: "
        "orch never leaves it so, and cannot tell what is applied",
        Hint(
            "if these migrations made what is there, give the last version that ran: ",
            Command("baseline", NAME, "--version", VERSION),
            "; if nothing of them is there: ",
            Command("repair", NAME, "--mark-not-applied", first),
        ),
    )


def lacking(squash: Squash, migration: Migration) -> Problem:
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


def version_without_file(version: int, squash: Migration | None) -> Problem:
    """Return the problem of a version table that is at a version without a file; `squash` is what replaces that one."""
    if squash is not None:
        return Problem(
            Kind.SQUASHED,
            f"golang-migrate's version table is at version {version}, which the file of version {squash.version} "
            f"replaces: the database lacks {above(squash.replaces, version)}",
            "apply a release that still has those files to this database first, then this one",
            version,
        )
    return Problem(
        Kind.MISSING,
        f"golang-migrate's version table is at version {version}, and there is no such file",
        Hint("restore the file (a branch that is not merged?), or: ", _REPAIR),
        version,
    )


def missing(attempt: Attempt) -> Problem:
    """Return the problem of a file that is gone; past it nothing is rolled back."""
    return Problem(
        Kind.MISSING,
        f"version {attempt.version} ('{attempt.name}') was applied{when(attempt)}, and its file is gone",
        Hint(
            f"restore the file, of another branch or an older release; {_GONE}",
            Command("repair", NAME, "--acknowledge", attempt.version) if attempt.done else _REPAIR,
        ),
        attempt.version,
        blocks=() if attempt.done else (Direction.UP, Direction.DOWN),  # past it is refused where a down is planned
    )


_GONE = "without it a rollback past this version needs the text that the history keeps. If it is meant to be gone: "


FOLDED = 3
"""So many versions of which the same is to be said get a sentence each; more of them share one."""


def missing_files(attempts: Sequence[Attempt]) -> Problem:
    """Return the problem of many files that are gone, in one sentence."""
    versions = [attempt.version for attempt in attempts]
    said = written(ranges_of(versions)).replace(", ", ",")
    return Problem(
        Kind.MISSING,
        f"{spoken_versions(versions)} were applied, the last{when(attempts[-1])}, and their files are gone",
        Hint(
            "restore the files, of another branch or an older release; a rollback past these versions needs the "
            "texts that the history keeps. "
            "If they are meant to be gone: ",
            Command("repair", NAME, "--acknowledge", said),
        ),
        versions[-1],
        blocks=(),
    )


def other_number(attempt: Attempt, migration: Migration) -> Problem:
    """Return the problem of a file that has another number than when it was applied."""
    path = migration.up.path if migration.up else ""
    return Problem(
        Kind.RENUMBERED,
        f"{path} is the file that was applied as version {attempt.version} ('{attempt.name}'){when(attempt)}: "
        "it has another number now, and would run a second time",
        Hint(
            Command("repair", NAME, "--renumber", f"{attempt.version}={migration.version}"),
            f" records that it is applied; or give the file its number {attempt.version} back",
        ),
        attempt.version,
    )


def edited(attempt: Attempt, path: str, *, on_top: bool) -> Problem:
    """Return the problem of a file that was changed after it was applied.

    `on_top`: everything newer was changed too, so that it can be rolled back, with what its down file says now.
    """
    instead = Hint("write a new migration instead, or after a look: ", Command("repair", NAME, "--accept", path))
    return Problem(
        Kind.EDITED,
        f"{path} was edited after it was applied{when(attempt)}",
        joined("; ", [instead, Hint("while you still develop it: ", Command("redo", NAME))]) if on_top else instead,
        attempt.version,
        (Direction.UP,) if on_top else (Direction.UP, Direction.DOWN),
    )


def added_late(attempt: Attempt, path: str) -> Problem:
    """Return the problem of an up file that appeared after its version had counted as applied without one."""
    return Problem(
        Kind.EDITED,
        f"{path} was added after version {attempt.version} was applied without an up file{when(attempt)}: it never ran",
        Hint("give it a version above the current one, or after a look: ", Command("repair", NAME, "--accept", path)),
        attempt.version,
    )


def late(versions: Sequence[int], newest: int, files: Mapping[int, Migration], *, in_part: bool = False) -> Problem:
    """Return the problem of pending versions below the current one; it forbids only the way up.

    `in_part`: that one has run in part. It began after all below it were applied, so perhaps their records are lost.
    """
    names = some([f"{v} ('{files[v].name}')" for v in versions], 10)
    again = Command("apply", "--allow-out-of-order")
    what = f"pending below the current version {newest}: {names}"
    above = f"give it a version above {newest}, or run it all the same, this once: "
    hint = Hint(above, again, " (always: 'out_of_order: apply' in the manifest)")
    if in_part:
        what = f"pending below version {newest}, which has run in part: {names}"
        lost = Command("repair", NAME, "--mark-applied", str(versions[0]))
        first = f"first decide about version {newest}: "
        hint = Hint(first, _REPAIR, "; then, if the record of one is lost: ", lost, "; if it is new: ", again)
    return Problem(Kind.OUT_OF_ORDER, what, hint, versions[0], blocks=(Direction.UP,))


def second_partial(attempt: Attempt) -> Problem:
    """Return the problem of a second attempt that stopped half way."""
    return Problem(
        Kind.PARTIAL,
        f"version {attempt.version} stopped half way, and so did another",
        Hint("look at the schema, then: ", _REPAIR),
        attempt.version,
    )


def cut_off(partial: Attempt) -> Problem:
    """Describe a half-done attempt. It forbids only the other direction: its own continues it."""
    other = Direction.DOWN if partial.direction is Direction.UP else Direction.UP
    up = partial.direction is Direction.UP
    command = Command("apply") if up else Command("rollback", NAME, "--steps", 1)
    over = partial.applied >= partial.total and not partial.in_flight
    at = "its end" if over else f"statement {partial.applied + 1} of {partial.total}"
    reason = f": {partial.error}" if partial.error else ""
    if partial.in_flight:
        doubt = partial.error.startswith(IN_DOUBT)
        return Problem(
            Kind.IN_FLIGHT,
            f"version {partial.version} ({partial.direction.value}) was cut off at {at}"
            + (reason or "; the next run finds out whether it was done"),
            Hint("look whether it was done, then: ", _REPAIR, " (or let orch look again: ", command, ")")
            if doubt
            else Hint("continue: ", command),
            partial.version,
            blocks=(other,),
        )
    return Problem(
        Kind.PARTIAL,
        f"version {partial.version} ({partial.direction.value}) stopped at {at}{reason}",
        Hint("fix the cause, then continue: ", command),
        partial.version,
        blocks=(other,),
    )
