"""`orch clone`: a fresh migrated copy of a database."""

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
    wanted: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Name of the copy. Default: a new, unique name.")
    ] = None,
    seeds: Annotated[
        bool, typer.Option("--seeds/--no-seeds", help="Include or skip migrations with `seed` in their name.")
    ] = True,
    pid: Annotated[
        int | None,
        typer.Option(
            "--pid",
            min=1,
            metavar="PID",
            help="Tie the clone to process PID: the next orch run after it has exited drops the clone.",
        ),
    ] = None,
    scope: Scope,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Create a fresh migrated copy of a database on its server, and print the name of the copy.

    The first call migrates a template. Later calls copy it, which takes the same time for any number of migrations.

    Examples:
        orch clone order
        orch clone order --as order_test
        NAME=$(orch clone order --pid $$)
    """
    from orchestrator.cli.console import say
    from orchestrator.cli.show import show
    from orchestrator.operations.clone import clone
    from orchestrator.views.plain import PlainView

    show("clone", output, clone(scope, PlainView(say), name, wanted=wanted, seeds=seeds, pid=pid))
    return 0
