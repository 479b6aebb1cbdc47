"""`orch drop-clone`: remove what `orch clone` made."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.hints import NAME, Command, Hint


def command(
    names: Annotated[list[str] | None, typer.Argument(metavar="[CLONE]...", help="The clones to drop.")] = None,
    left_behind: Annotated[
        bool,
        typer.Option("--left-behind", help="Drop clones whose process has exited, on every server of the manifest."),
    ] = False,
    templates: Annotated[
        bool,
        typer.Option(
            "--templates", help="Drop the templates of these databases, and those of projects that no longer exist."
        ),
    ] = False,
    file: options.File = None,
    env_file: options.EnvFile = None,
    wait: options.Wait = 0.0,
    embedded: options.Embedded = False,
) -> int:
    """Drop clones. A database that was not created by `orch clone` is refused.

    The next clone builds a dropped template again.

    Examples:
        orch drop-clone order_test
        orch drop-clone --left-behind
        orch drop-clone --templates
    """
    from orchestrator.cli.console import out, say
    from orchestrator.errors import UsageError
    from orchestrator.operations.assembly import assemble
    from orchestrator.scratch.clones import Cloner
    from orchestrator.views.plain import PlainView

    if not names and not left_behind and not templates:
        raise UsageError("no clone given", hint=Hint(Command("drop-clone", NAME), ", --left-behind or --templates"))
    assembly = assemble(file, env_file)
    cloner = Cloner(assembly.run(PlainView(say), embedded=embedded, wait=wait))
    ids = [database.id for database in assembly.databases]
    for name in names or ():
        cloner.drop_on_any(ids, name)
        out(name)
    for name in cloner.drop_left_behind(ids) if left_behind else ():
        out(name)
    for name in cloner.drop_templates(ids) if templates else ():
        out(name)
    return 0
