"""`orch baseline`: mark existing migrations as applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.scoped import scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped("lock_timeout", "embedded")
def command(
    *,
    name: options.Name,
    version: Annotated[
        int, typer.Option("--version", min=0, metavar="N", help="Mark every migration up to this version applied.")
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Keep this reason in the history.")] = "",
    scope: Scope,
) -> int:
    """Mark existing migrations as applied without running them.

    Examples:
        orch baseline inventory --version 2 --reason "restored from the dump of Monday"
    """
    from orchestrator.cli.stage import record, waiting
    from orchestrator.operations.baseline import prepare

    return record(prepare(scope, waiting(), name, version, reason), "baseline", options.Output.text)
