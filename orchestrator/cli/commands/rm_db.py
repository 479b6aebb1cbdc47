"""`orch rm-db`: remove a database from the project. Its server is not touched."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options


def command(
    name: options.Name,
    migrations: Annotated[
        bool,
        typer.Option("--migrations", help="Remove its migrations even if they were edited."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, but write nothing.")] = False,
    file: options.File = None,
) -> int:
    """Undo add-db: remove the manifest entry, update rendered files, and remove migrations that nobody has edited.

    The database itself is never touched.

    Examples:
        orch rm-db logs2
    """
    from orchestrator.cli.console import say
    from orchestrator.cli.project import make
    from orchestrator.operations.rm_db import rm_db

    removed, database = rm_db(name, file, migrations=migrations)
    make(removed, dry_run)
    if not dry_run:
        say(f"The database {database.name!r} itself, if there is one, is as it was.")
    return 0
