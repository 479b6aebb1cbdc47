"""`orch clones`: the clones and templates on the servers of the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import options
from orchestrator.cli.scoped import scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped("wait", "embedded")
def command(
    *,
    scope: Scope,
    output: options.OutputOption = options.Output.text,
) -> int:
    """List clones and templates on the servers of the manifest, with the process that each belongs to. Only reads.

    `orch drop-clone` drops them.

    Examples:
        orch clones
        orch clones --output json
    """
    from orchestrator.cli.console import say
    from orchestrator.cli.show import show
    from orchestrator.operations.clone import clones
    from orchestrator.views.plain import PlainView

    found = clones(scope, PlainView(say))
    if found or output is options.Output.json:
        show("clones", output, found)
    else:
        say("There are no clones, and no templates.")
    return 0
