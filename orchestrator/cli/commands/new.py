"""`orch new`: the next pair of migration files."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options


def command(
    name: options.Name,
    description: Annotated[str, typer.Argument(metavar="DESCRIPTION", help="What the migration does, in a few words.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, but write nothing.")] = False,
    file: options.File = None,
) -> int:
    """Create the next pair of migration files, numbered and named like those in the directory.

    Examples:
        orch new inventory add_reserved_until
        orch new group:tenant add_note
    """
    from orchestrator.cli.project import make
    from orchestrator.operations.new import new

    return make(new(name, description, file), dry_run)
