"""Create the next pair of migration files of a database. No server is asked."""

from __future__ import annotations

import re

from orchestrator.engines import dialect
from orchestrator.errors import UsageError
from orchestrator.files.changes import change
from orchestrator.files.scaffold import next_pair
from orchestrator.hints import Command, Hint
from orchestrator.manifest.names import resolve_files
from orchestrator.operations.project import Changes, changes, open_project
from orchestrator.planning.catalog import MAX_VERSION


def new(name: str, description: str, file: str | None = None) -> Changes:
    """Return the changes that create the next pair, numbered and written as the others in the directory.

    UsageError for a name that means no database and no fleet, or if the last version is the largest there can be.
    """
    project = open_project(file)
    database, users = resolve_files(project.manifest.databases, name)
    directory = database.directory
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    versions = [found[1] for one in names if (found := re.match(r"([0-9]+)_.*\.(?:up|down)\.", one))]
    if max(map(int, versions), default=0) >= MAX_VERSION:
        raise UsageError(f"{database.id} has a version that is the largest there can be", hint=f"it is {MAX_VERSION}")
    suffixes = {one.rpartition(".")[2] for one in names if re.fullmatch(r"[0-9]+_.*\.(?:up|down)\.[a-z]+", one)}
    used = suffixes.intersection(dialect(database.engine).extensions)
    files = next_pair(database.engine, versions, description, extension=used.pop() if len(used) == 1 else "")
    # A directory elsewhere is where the manifest says; a link must not lead out of either.
    root = project.root if project.holds(directory) else directory
    pair = [change(directory / one, text.encode()) for one, text in files.items()]
    return changes(pair, root, Hint("write the two files, then: ", Command("apply", "--only", users)))
