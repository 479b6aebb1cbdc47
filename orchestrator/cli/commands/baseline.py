"""`orch baseline`: mark existing migrations as applied."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options


def command(
    name: options.Name,
    version: Annotated[
        int, typer.Option("--version", min=0, metavar="N", help="Mark every migration up to this version applied.")
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Keep this reason in the history.")] = "",
    file: options.File = None,
    env_file: options.EnvFile = None,
    lock_timeout: options.LockTimeout = None,
    embedded: options.Embedded = False,
) -> int:
    """Mark existing migrations as applied without running them.

    Examples:
        orch baseline inventory --version 2 --reason "restored from the dump of Monday"
    """
    from orchestrator.cli.stage import record, waiting
    from orchestrator.operations.baseline import prepare
    from orchestrator.operations.scope import Scope

    scope = Scope(file, env_file, embedded=embedded, lock_timeout=lock_timeout)
    return record(prepare(scope, waiting(), name, version, reason), "baseline", options.Output.text)
