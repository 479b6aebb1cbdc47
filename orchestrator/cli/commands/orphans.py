"""`orch orphans`: databases with a migration history that no manifest declares."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options


def command(
    also: Annotated[
        list[str] | None,
        typer.Option("--also", metavar="PATH", help="Another manifest, whose databases are not listed. Repeatable."),
    ] = None,
    file: options.File = None,
    env_file: options.EnvFile = None,
    wait: options.Wait = 0.0,
    output: options.OutputOption = options.Output.text,
) -> int:
    """List databases that have a migration history but are in no manifest. Only reads.

    It searches the servers of the manifest. Databases that cannot be read are listed on stderr.

    Examples:
        orch orphans
        orch orphans --also ../platform/databases.yaml
        orch orphans --output json
    """
    from orchestrator.cli.console import say, warn
    from orchestrator.cli.show import show
    from orchestrator.operations.load import assemble
    from orchestrator.operations.orphans import orphans
    from orchestrator.views.plain import PlainView

    run = assemble(file, env_file).run(PlainView(say), wait=wait)
    others = [target for path in also or () for target in assemble(path, env_file).targets().values()]
    found = orphans(run, others)
    for place, failure in found.unread:
        warn(f"{place} could not be read: {failure.what}")
        if failure.hint:
            warn(f"  {failure.hint}")
    if found.found or output is options.Output.json:
        show("orphans", output, found)
    else:
        say("Every database with a migration history is in the manifest.")
    return 0
