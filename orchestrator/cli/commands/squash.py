"""`orch squash`: write one migration that replaces many old ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.scoped import scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped("wait", "embedded")
def command(
    *,
    name: options.Name,
    to: Annotated[int, typer.Option("--to", min=1, metavar="VERSION", help="Replace all migrations up to this one.")],
    description: Annotated[
        str, typer.Option("--name", metavar="WORDS", help="What the new migration is called.")
    ] = "squashed",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, but write nothing.")] = False,
    snapshot: Annotated[
        bool,
        typer.Option(
            "--snapshot",
            help="Write what a scratch database holds after these migrations, instead of their statements. "
            "PostgreSQL only; needs the server and pg_dump.",
        ),
    ] = False,
    scope: Scope,
) -> int:
    """Write one migration that replaces all up to a version. Needs no server, but for --snapshot.

    A new database runs it. In a database at that version it counts as applied. A database below that version is
    refused, and the message lists the missing migrations.

    Examples:
        orch squash inventory --to 60
        orch squash inventory --to 60 --snapshot
    """
    from orchestrator.cli.console import say
    from orchestrator.cli.project import make
    from orchestrator.operations.squash import squash_files
    from orchestrator.views.plain import PlainView

    return make(squash_files(scope, name, to, description, PlainView(say), snapshot=snapshot), dry_run)
