"""`orch squash`: write one migration that replaces many old ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.model import Migration


def command(
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
    file: options.File = None,
    env_file: options.EnvFile = None,
    wait: options.Wait = 0.0,
    embedded: options.Embedded = False,
) -> int:
    """Write one migration that replaces all up to a version. Needs no server, but for --snapshot.

    A new database runs it. In a database at that version it counts as applied. A database below that version is
    refused, and the message lists the missing migrations.

    Examples:
        orch squash inventory --to 60
        orch squash inventory --to 60 --snapshot
    """
    from functools import partial

    from orchestrator.cli.console import say
    from orchestrator.cli.project import make
    from orchestrator.files.changes import change
    from orchestrator.files.scaffold import snake
    from orchestrator.hints import Command, Hint
    from orchestrator.manifest.names import resolve_name
    from orchestrator.model import File, Script
    from orchestrator.operations.assembly import assemble
    from orchestrator.operations.project import changes, open_project
    from orchestrator.operations.squash import snapshot_of, squash
    from orchestrator.views.plain import PlainView

    project = open_project(file)
    database = resolve_name(project.manifest.databases, name)
    assembly = assemble(file, env_file if snapshot else None, [database.id], None, no_deps=True)
    migrations = assembly.catalogs()[database.id]

    def read(one: File) -> Script:
        return assembly.read_script(database, one)

    picture: Callable[[Sequence[Migration]], str] | None = None
    if snapshot:
        run = assembly.run(PlainView(say), embedded=embedded, wait=wait)
        picture = partial(snapshot_of, run, database.id)
    squashed = squash(database, migrations, to, snake(description), read, picture)
    for path, text in squashed.new.items():  # what is written must be a migration
        shown = str(path.relative_to(project.root)) if project.holds(path) else str(path)
        assembly.engine(database.engine).parse(File(shown, path, ""), text)
    if squashed.without_down:
        say(f"{squashed.without_down} has no down file, so the new migration has none.")
    root = project.root if project.holds(database.directory) else database.directory
    found = [change(path, text.encode()) for path, text in squashed.new.items()]
    found += [change(path, None) for path in squashed.removed]
    after = f"; before you deploy it, bring every database to version {to}"
    return make(changes(found, root, Hint(Command("verify", name), after)), dry_run)
