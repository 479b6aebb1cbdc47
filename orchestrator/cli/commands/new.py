"""`orch new`: the next pair of migration files."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.hints import Command, Hint


def command(
    name: options.Name,
    description: Annotated[str, typer.Argument(metavar="DESCRIPTION", help="What the migration does, in a few words.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, but write nothing.")] = False,
    file: options.File = None,
) -> int:
    """Create the next pair of migration files, numbered and named like those in the directory.

    Examples:
        orch new inventory add_reserved_until
    """
    import re

    from orchestrator.cli.project import make, open_project
    from orchestrator.engines import dialect
    from orchestrator.errors import UsageError
    from orchestrator.files.changes import change
    from orchestrator.files.scaffold import next_pair
    from orchestrator.manifest.names import resolve_name
    from orchestrator.planning.catalog import MAX_VERSION

    project = open_project(file)
    database = resolve_name(project.manifest.databases, name)
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
    changes = [change(directory / one, text.encode()) for one, text in files.items()]
    make(changes, root, dry_run, Hint("write the two files, then: ", Command("apply", "--only", name)))
    return 0
