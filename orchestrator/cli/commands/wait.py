"""`orch wait`: wait until databases are migrated. It only reads, and needs no other credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from orchestrator.cli import options
from orchestrator.cli.parameters import Option
from orchestrator.cli.scoped import scoped
from orchestrator.records import replace

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped("embedded")
def command(
    *,
    wanted: Annotated[
        list[str] | None,
        Option(
            "--for",
            metavar="NAME[@VERSION]",
            help="Wait for this database, or for one version of it: a name, a glob, label:NAME or group:NAME. "
            "Repeatable. Default: every database.",
            autocompletion=options.complete_name,
        ),
    ] = None,
    timeout: Annotated[
        float,
        Option(
            "--timeout", min=0, callback=options.finite, metavar="SECONDS", help="Give up after SECONDS (exit code 8)."
        ),
    ] = 600.0,
    every: Annotated[
        float,
        Option("--every", min=0.1, callback=options.finite, metavar="SECONDS", help="Polling interval in seconds."),
    ] = 1.0,
    scope: Scope,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Wait until databases are migrated. Use it in an init container or a CI job.

    Exit code 5: a history conflict, which waiting does not resolve. Exit code 8: not migrated in time.

    Examples:
        orch wait
        orch wait --for order --for user@2 --timeout 600
        orch wait --for group:tenant
    """
    from orchestrator.cli.console import say
    from orchestrator.cli.show import show
    from orchestrator.operations.wait import wait
    from orchestrator.views.plain import PlainView

    show("wait", output, wait(replace(scope, wait=timeout), PlainView(say), wanted or (), every=every))
    return 0
