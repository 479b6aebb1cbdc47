"""`orch lint --fix`: put each CONCURRENTLY into a file of its own, in the newest migration, if no database has run it yet.

Later files would need other numbers, and so would what a history says of them: every other file is left as it is, with
the reason. The servers of all databases that share the directory are asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.analysis.lint_report import Report
from orchestrator.analysis.splitting import Piece, split
from orchestrator.errors import OrchError
from orchestrator.events import Sink
from orchestrator.execution.survey import survey
from orchestrator.files.changes import Change, change, commit
from orchestrator.model import Database, File, Migration, Script
from orchestrator.operations.assembly import Assembly
from orchestrator.operations.scope import Scope

_RULE = "PG405"


@dataclass(frozen=True, slots=True)
class Fixed:
    """Which files took the place of one, by its path, and why others were left as they are."""

    split: dict[str, tuple[str, ...]]
    left: dict[str, str]


def fix(scope: Scope, sink: Sink, report: Report) -> Fixed:
    """Split the files that the report names, if that does not change what they do. OrchError if a file cannot be written."""
    told = {one.finding.where.path: one.database for one in report.findings if one.finding.code == _RULE}
    fixed = Fixed({}, {})
    if not told:
        return fixed
    everything = replace(scope, only=None, exclude=None, no_deps=False).assemble()
    databases = {one.id: one for one in everything.databases}
    for path, id in told.items():
        try:
            changes = _changes(scope, everything, sink, databases[id], path)
            commit(changes, everything.manifest.path.parent)
        except (ValueError, OrchError) as error:
            fixed.left[path] = error.what if isinstance(error, OrchError) else str(error)
            continue
        fixed.split[path] = tuple(one.path.name for one in changes if ".up." in one.path.name)
    return fixed


def _changes(scope: Scope, assembly: Assembly, sink: Sink, database: Database, path: str) -> list[Change]:
    catalog = assembly.catalogs()[database.id]
    migration = next(one for one in catalog if one.up and one.up.path == path)
    if migration is not catalog[-1]:
        raise ValueError("only the newest migration is split: files after it would need other numbers")
    sharing = [one for one in assembly.databases if one.directory == database.directory]
    _refuse_applied(scope, sink, sharing, migration.version)
    up = _read(assembly, database, migration.up)
    down = _read(assembly, database, migration.down)
    if up is None:
        raise ValueError("it has no up file")
    return list(_written(migration, split(up, down)))


def _refuse_applied(scope: Scope, sink: Sink, sharing: Iterable[Database], version: int) -> None:
    """Raise ValueError unless no database has run anything of this version."""
    asked = replace(scope, only=[one.id for one in sharing], exclude=None, no_deps=True)
    run = asked.run(asked.assemble(), sink)
    for id, seen in survey(run).items():
        if seen.failure and seen.failure.kind != "database_missing":
            raise ValueError(f"{id} cannot be asked whether it has run: {seen.failure.what}")
        partial = seen.state.partial
        if version not in seen.state.pending or (partial is not None and partial.version == version):
            raise ValueError(f"{id} has run it, wholly or in part")


def _read(assembly: Assembly, database: Database, file: File | None) -> Script | None:
    if file is None:
        return None
    script = assembly.read_script(database, file)
    if script.text.encode() != file.location.read_bytes():
        raise ValueError("it begins with a byte order mark, or is not plain UTF-8")
    return script


def _written(migration: Migration, pieces: list[Piece]) -> Iterable[Change]:
    """Yield the files of the pieces: the first keeps the name, the others take the versions that follow."""
    for number, piece in enumerate(pieces):
        for file, text in ((migration.up, piece.up), (migration.down, piece.down)):
            if file is None or text is None:
                continue
            new = _named(file.location, migration.version + number, piece.ending)
            if number and new.exists():
                raise ValueError(f"{new.name} exists already")
            if changed := change(new, text.encode()):
                yield changed


def _named(path: Path, version: int, ending: str) -> Path:
    digits, _, rest = path.name.partition("_")
    name, _, kind = rest.partition(".")
    return path.with_name(f"{version:0{len(digits)}d}_{name}{ending}.{kind}")
