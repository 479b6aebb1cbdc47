"""`orch wait`: wait until databases are migrated. It only reads, and needs no other credentials."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options


def command(
    wanted: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="NAME[@VERSION]",
            help="Wait for this database, or for one version of it. Repeatable. Default: every database.",
            autocompletion=options.complete_name,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=0, callback=options.finite, metavar="SECONDS", help="Give up after SECONDS (exit code 8)."
        ),
    ] = 600.0,
    every: Annotated[
        float,
        typer.Option(
            "--every", min=0.1, callback=options.finite, metavar="SECONDS", help="Polling interval in seconds."
        ),
    ] = 1.0,
    file: options.File = None,
    env_file: options.EnvFile = None,
    embedded: options.Embedded = False,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Wait until databases are migrated. Use it in an init container or a CI job.

    Exit code 5: a history conflict, which waiting does not resolve. Exit code 8: not migrated in time.

    Examples:
        orch wait
        orch wait --for order --for user@2 --timeout 600
    """
    from orchestrator.cli.console import say
    from orchestrator.cli.show import show
    from orchestrator.operations.scope import Scope
    from orchestrator.operations.wait import wait
    from orchestrator.views.plain import PlainView

    scope = Scope(file, env_file, embedded=embedded, wait=timeout)
    show("wait", output, wait(scope, PlainView(say), wanted or (), every=every))
    return 0
