"""`orch init`: write the first manifest, empty or from existing migrations."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.engines import DIALECTS


def command(
    directory: Annotated[str, typer.Argument(metavar="[DIR]", help="The project directory.")] = ".",
    compose: Annotated[
        str | None,
        typer.Option(
            "--compose",
            metavar="FILE",
            help="Read dependencies from this compose file. Default: the first that exists.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", metavar="ENGINE", help=f"Declare only a server of this engine: {', '.join(DIALECTS)}."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, but write nothing.")] = False,
) -> int:
    """Write a first databases.yaml with an entry for each directory that holds migrations (*.up.sql, *.up.js, *.up.json).

    From a compose file it takes images, names of login variables, and the dependencies between services that are called
    migrate-NAME or NAME-migrate. For a single database it takes the DSN variable from .env.example.

    Examples:
        orch init
        orch init --engine sqlite
        orch init --dry-run
        orch init shop --compose docker-compose.yml
    """
    from orchestrator.cli.project import make
    from orchestrator.operations.init import init

    return make(init(directory, compose=compose, engine=engine), dry_run)
