"""`orch drop-clone`: drop databases that `orch clone` created."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.scoped import scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped("wait", "embedded")
def command(
    *,
    names: Annotated[list[str] | None, typer.Argument(metavar="[CLONE]...", help="The clones to drop.")] = None,
    left_behind: Annotated[
        bool,
        typer.Option("--left-behind", help="Drop clones whose process has exited, on every server of the manifest."),
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Drop every clone on every server of the manifest, also those in use.")
    ] = False,
    templates: Annotated[
        bool,
        typer.Option(
            "--templates", help="Drop the templates of these databases, and those of projects that no longer exist."
        ),
    ] = False,
    scope: Scope,
) -> int:
    """Drop clones. A database that was not created by `orch clone` is refused.

    The next clone builds a dropped template again.

    Examples:
        orch drop-clone order_test
        orch drop-clone --left-behind
        orch drop-clone --all --templates
    """
    from orchestrator.cli.console import out, say
    from orchestrator.operations.clone import drop
    from orchestrator.views.plain import PlainView

    for name in drop(scope, PlainView(say), names or (), left_behind=left_behind, templates=templates, every=every):
        out(name)
    return 0
