"""Write one pair of migration files in place of many: the texts, and which files they replace. Reads; writes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from orchestrator.engines import dialect
from orchestrator.errors import UsageError
from orchestrator.execution.run import Run
from orchestrator.model import Database, File, Migration, Script
from orchestrator.planning.squash import joined, written
from orchestrator.scratch.clones import Cloner


@dataclass(frozen=True, slots=True)
class Squashed:
    """The files to write, with their texts, those to remove, and what the new ones stand for.

    `without_down` names a migration that has no down file: then the new one has none either. '' if all have one.
    """

    new: Mapping[Path, str]
    removed: tuple[Path, ...]
    versions: str
    without_down: str = ""


def squash(
    database: Database,
    migrations: Sequence[Migration],
    to: int,
    name: str,
    read_script: Callable[[File], Script],
    snapshot: Callable[[Sequence[Migration]], str] | None = None,
) -> Squashed:
    """Return what replaces all migrations up to a version. UsageError if there is no such version, or nothing to replace.

    The new files do what the old ones do, one after the other; with a `snapshot`, which returns what a database holds after
    these migrations, the new file makes that. InvalidError for files that cannot be read.
    """
    old = [migration for migration in migrations if migration.version <= to]
    if not any(migration.version == to for migration in old):
        known = ", ".join(str(migration.version) for migration in migrations[-10:]) or "none"
        raise UsageError(f"{database.id} has no migration with version {to}", hint=f"there are: {known}")
    if len(old) < 2:
        raise UsageError(f"{database.id} has one migration up to version {to}", hint="there is nothing to squash")
    ranges = joined(span for one in old for span in (*one.replaces, (one.version, one.version)))
    ups = [one.up for one in old if one.up]
    downs = [one.down for one in reversed(old) if one.down]
    without = next((one.up.path for one in old if one.up and not one.down), "")
    digits, _, rest = ups[-1].location.name.partition("_")
    extension = rest.rpartition(".")[2]
    if (squashing := dialect(database.engine).squashing) is None:
        raise UsageError(f"migrations of {dialect(database.engine).title} cannot be squashed")
    write = squashing.squash
    stem = ups[-1].location.parent / f"{digits}_{name}"
    up = f"{squashing.head(written(ranges))}{snapshot(old)}" if snapshot else ""
    new = {Path(f"{stem}.up.{extension}"): up or write([read_script(file) for file in ups], written(ranges))}
    if not without:
        new[Path(f"{stem}.down.{extension}")] = write([read_script(file) for file in downs], "")
    removed = tuple(file.location for file in (*ups, *downs) if file.location not in new)
    return Squashed(new, removed, written(ranges), without)


def snapshot_of(run: Run, id: str, migrations: Sequence[Migration]) -> str:
    """Return the text of a file that makes what these migrations make, from a scratch database that is dropped again.

    UsageError for an engine without such files, or where the program that writes them is missing.
    """
    target, known = run.targets[id], dialect(run.targets[id].engine)
    if not known.dump:
        raise UsageError(f"there is no snapshot of {known.title}", hint="leave out --snapshot")
    cloner = Cloner(replace(run, catalogs={**run.catalogs, id: tuple(migrations)}))
    cloner.drop_left_behind([id])
    made = cloner.clone(id, pid=os.getpid())
    try:
        with run.engines[target.engine].connect(made) as session:
            text: str = import_module(known.dump).dump(session)
    finally:
        cloner.drop(id, made.database)
    return text
