"""Write one pair of migration files in place of many: the texts, and which files they replace."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from orchestrator.engines import dialect
from orchestrator.errors import UsageError
from orchestrator.events import Sink
from orchestrator.execution.run import Run
from orchestrator.files.changes import change
from orchestrator.files.scaffold import snake
from orchestrator.hints import Command, Hint
from orchestrator.manifest.names import resolve_files
from orchestrator.model import Database, File, Migration, Script
from orchestrator.operations.project import Changes, changes, open_project
from orchestrator.operations.scope import Scope
from orchestrator.planning.squash import joined, written
from orchestrator.scratch.clones import Cloner


def squash_files(scope: Scope, name: str, to: int, description: str, sink: Sink, *, snapshot: bool = False) -> Changes:
    """Return the changes that replace all migrations of one database up to version `to`. Nothing is changed yet.

    `description` becomes part of the names of the new files. Without `snapshot` no server is asked and no variable read;
    with it, a scratch database is made and dropped. UsageError for a name that is unknown, a version that does not exist or
    an engine that cannot; InvalidError for files that cannot be read, or that would be no migration when joined.
    """
    project = open_project(scope.file)
    database, users = resolve_files(project.manifest.databases, name)
    chosen = replace(scope, env_file=scope.env_file if snapshot else None, only=[database.id], no_deps=True)
    assembly = chosen.assemble()
    write_snapshot = partial(_snapshot_of, chosen.run(assembly, sink), database.id) if snapshot else None
    migrations = assembly.catalogs()[database.id]
    squashed = squash(
        database, migrations, to, snake(description), partial(assembly.read_script, database), write_snapshot
    )
    for path, text in squashed.new.items():  # what is written must be a migration
        shown = str(path.relative_to(project.root)) if project.holds(path) else str(path)
        assembly.engine(database.engine).parse(File(shown, path, ""), text)
    root = project.root if project.holds(database.directory) else database.directory
    found = [change(path, text.encode()) for path, text in squashed.new.items()]
    found += [change(path, None) for path in squashed.removed]
    after = Hint(Command("verify", users), f"; before you deploy it, bring every database to version {to}")
    notes = (
        [f"{squashed.without_down} has no down file, so the new migration has none."] if squashed.without_down else []
    )
    return changes(found, root, after, notes)


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
        raise UsageError(f"migrations of {dialect(database.engine).title} cannot be squashed", hint="keep them")
    for file in (*ups, *downs):
        if read_script(file).template:
            what = f"{database.id}: {file.path} is a template: what it yields for one database is not what it is for another"
            raise UsageError(what, hint="squash up to a version below it")
    write = squashing.squash
    stem = ups[-1].location.parent / f"{digits}_{name}"
    up = f"{squashing.head(written(ranges))}{snapshot(old)}" if snapshot else ""
    new = {Path(f"{stem}.up.{extension}"): up or write([read_script(file) for file in ups], written(ranges))}
    if not without:
        new[Path(f"{stem}.down.{extension}")] = write([read_script(file) for file in downs], "")
    removed = tuple(file.location for file in (*ups, *downs) if file.location not in new)
    return Squashed(new, removed, written(ranges), without)


def _snapshot_of(run: Run, id: str, migrations: Sequence[Migration]) -> str:
    """Return the text of a file that makes what these migrations make, by a scratch database that is dropped afterwards.

    UsageError for an engine without such files, or where the program that writes them is missing.
    """
    target, known = run.targets[id], dialect(run.targets[id].engine)
    if not (dumping := known.dumping):
        raise UsageError(f"there is no snapshot of {known.title}", hint="leave out --snapshot")
    cloner = Cloner(replace(run, catalogs={**run.catalogs, id: tuple(migrations)}))
    cloner.drop_left_behind([id])
    made = cloner.clone(id, pid=os.getpid())
    try:
        with run.engines[target.engine].connect(made) as session:
            text = dumping.dump(session)
    finally:
        cloner.drop(id, made.database)
    return text
