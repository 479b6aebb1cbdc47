"""A way out of a state that a run cannot decide alone, and what each kind of it would record. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.hints import Command
from orchestrator.model import Attempt, Direction, History, Migration, Origin, VersionRow
from orchestrator.planning.attempts import (
    latest_effective,
    next_attempt,
    prefix_landed,
    version_row_after,
    version_row_during,
)
from orchestrator.planning.problems import row_key, spoken


@dataclass(frozen=True, slots=True)
class Signature:
    """Who repairs, recorded with every repair; and why, if they say so."""

    actor: str
    run_id: str
    tool: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """One sensible way on: the option that chooses it with its values, what it means, and what it would record."""

    option: str
    what: str
    attempts: tuple[Attempt, ...]
    version_row: VersionRow | None
    values: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The option and its values, as people read them."""
        return " ".join([self.option, *self.values])

    def command(self, id: str) -> Command:
        """Return the command that applies it to a database."""
        options = [word for value in self.values for word in (f"--{self.option}", value)]
        return Command("repair", id, *(options or [f"--{self.option}"]))


def moved_here(history: History, by: Signature) -> Resolution:
    """Return the record that the rows are of the database in which they are: the newest attempt that counts, once more."""
    latest = list(latest_effective(history.attempts).values()) or sorted(history.attempts)
    last = next((attempt for attempt in latest if not attempt.done), latest[-1])
    moved = going_on(history, last, by)._replace(origin=Origin.MOVED)
    return Resolution("here", "these records are of this database from now on", (moved,), None)


def keep_row(row: VersionRow) -> Resolution:
    """Return the resolution that one row of several in the version table is right."""
    return Resolution(
        "keep-version",
        f"the row of {spoken(row.version)} is right: the others are removed from the version table",
        (),
        row,
        (str(row_key(row)),),
    )


def nothing_applied(migrations: Sequence[Migration], history: History, first: int, by: Signature) -> Resolution:
    """Return what records that a database with an emptied history begins at nothing."""
    attempts, version_row = _marked(migrations, history, first, by, applied=False)
    return Resolution(
        "mark-not-applied",
        f"nothing is applied: every migration runs, from version {first} on",
        attempts,
        version_row,
        (str(first),),
    )


def marks(migrations: Sequence[Migration], history: History, version: int, by: Signature) -> list[Resolution]:
    """Return the resolutions that a version is in the database, and that nothing of it is."""
    return [
        Resolution(
            "mark-applied",
            f"all of version {version} is in the database (you have checked it, or completed it manually)",
            *_marked(migrations, history, version, by, applied=True),
            (str(version),),
        ),
        Resolution(
            "mark-not-applied",
            f"nothing of version {version} is in the database (you have checked it, or removed it manually)",
            *_marked(migrations, history, version, by, applied=False),
            (str(version),),
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
            record = record_of(history, migration, by, Origin.MARKED)
            attempts.append(record if applied else record._replace(direction=Direction.DOWN))
        elif migration.version in wanted - recorded:
            attempts.append(record_of(history, migration, by, Origin.ADOPTED))
        elif migration.version in recorded - wanted:
            attempts.append(record_of(history, migration, by, Origin.ADOPTED)._replace(direction=Direction.DOWN))
    files = {migration.version for migration in migrations}
    for gone in sorted(((recorded - wanted) | {version}) - files):  # their files are gone
        known = latest[gone]
        word = Origin.MARKED if gone == version else Origin.ADOPTED
        record = record_of(history, Migration(gone, known.name), by, word)._replace(checksum=known.checksum)
        attempts.append(record if gone in wanted else record._replace(direction=Direction.DOWN))
    return tuple(attempts), VersionRow(max(wanted, default=None))


def going_on(history: History, partial: Attempt, by: Signature) -> Attempt:
    """Return a new attempt that goes on from one that stopped half way, which stays as it is."""
    attempt = next_attempt(history.attempts, partial.version)
    return partial._replace(number=attempt, actor=by.actor, run_id=by.run_id, tool=by.tool, reason=by.reason, error="")


def in_doubt(history: History, partial: Attempt, by: Signature) -> list[Resolution]:
    """Return the resolutions that a statement in doubt was done, and that it was not."""
    number = partial.applied + 1
    signed = going_on(history, partial, by)._replace(in_flight=False)
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


def continued(history: History, partial: Attempt, by: Signature) -> Resolution:
    """Return the resolution that a file goes on where it stopped."""
    applied = applied_versions(history)
    return Resolution(
        "continue",
        f"version {partial.version} is as it was when it stopped: continue at statement {partial.applied + 1} of {partial.total}",
        (going_on(history, partial, by),),
        version_row_during(applied, partial.version, partial.direction),
    )


def accept(migrations: Sequence[Migration], history: History, version: int, by: Signature) -> Resolution:
    """Return the resolution that the edit of a file does not matter."""
    migration = next(m for m in migrations if m.version == version)
    path = migration.up.path if migration.up else ""
    record = record_of(history, migration, by, Origin.MARKED)
    return Resolution("accept", f"the current content of {path} counts as applied", (record,), None, (path,))


def renumber(migrations: Sequence[Migration], history: History, version: int, number: int, by: Signature) -> Resolution:
    """Return what records a file under its new number: it is applied there, and its old number is not."""
    migration = next(m for m in migrations if m.version == number)
    old = next((m for m in migrations if m.version == version), Migration(version, ""))
    name = latest_effective(history.attempts)[version].name
    gone = record_of(history, old._replace(name=name), by, Origin.MARKED)._replace(direction=Direction.DOWN)
    applied = (applied_versions(history) - {version}) | {number}
    return Resolution(
        "renumber",
        f"the file that was applied as version {version} is version {number} now, and is applied",
        (gone, record_of(history, migration, by, Origin.MARKED)),
        VersionRow(max(applied)) if history.version_row is not None and not history.version_row.dirty else None,
        (f"{version}={number}",),
    )


def _before(history: History, partial: Attempt) -> VersionRow:
    opposite = Direction.DOWN if partial.direction is Direction.UP else Direction.UP
    return version_row_after(applied_versions(history), partial.version, opposite)


def applied_versions(history: History) -> set[int]:
    """Return the versions that count as applied."""
    latest = latest_effective(history.attempts)
    return {v for v, r in latest.items() if r.done and r.direction is Direction.UP}


def record_of(history: History, migration: Migration, by: Signature, origin: Origin) -> Attempt:
    """Return the attempt that says that a migration is applied."""
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
