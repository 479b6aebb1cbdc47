"""`orch add-db`: write everything that a new database needs."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.engines import DIALECTS


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the new database.")],
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="ENGINE",
            help=f"One of {', '.join(DIALECTS)}. Default: that of --server, or of the servers.",
        ),
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="NAME", help="The server. Default: the only server of the engine.")
    ] = None,
    depends_on: Annotated[
        list[str] | None,
        typer.Option(
            "--depends-on",
            metavar="NAME",
            help="Migrate the new database after this one. Repeatable.",
            autocompletion=options.complete_name,
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="WORD", help="Add a label, for --only label:WORD. Repeatable."),
    ] = None,
    create: Annotated[
        list[str] | None,
        typer.Option(
            "--create", metavar="KEY=VALUE", help="For CREATE DATABASE: owner=app, extensions=a,b. Repeatable."
        ),
    ] = None,
    migrations: Annotated[
        str | None,
        typer.Option("--migrations", metavar="PATH", help="Take over the migrations of this directory."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, but write nothing.")] = False,
    file: options.File = None,
) -> int:
    """Add a database: manifest entry, first migration and rendered files. All or nothing; needs no server.

    A directory that already has migrations is taken over, and no first migration is written.

    Examples:
        orch add-db inventory --depends-on order
        orch add-db logs --engine mongo
        orch add-db billing --migrations services/billing/migrations
    """
    from orchestrator.cli.project import make
    from orchestrator.operations.add_db import add_db

    added = add_db(
        name,
        file,
        engine=engine,
        server=server,
        depends_on=depends_on or (),
        labels=label or (),
        create=create or (),
        migrations=migrations,
    )
    return make(added, dry_run)
