"""`orch history`: the migration history of a database, or of all."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli import options


class HistoryOutput(StrEnum):
    """What stdout holds."""

    text = "text"
    json = "json"
    csv = "csv"


def command(
    name: Annotated[
        str | None, typer.Argument(help="The database. Default: every database.", autocompletion=options.complete_name)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="AGE", help="Show attempts of the last 7d, 12h or 30m, or since a date in UTC."
        ),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Show only attempts that failed or did not finish.")] = False,
    file: options.File = None,
    env_file: options.EnvFile = None,
    embedded: options.Embedded = False,
    output: Annotated[HistoryOutput, typer.Option("--output", help="Format of stdout.")] = HistoryOutput.text,
) -> int:
    """Show the migration history of one database or of all, including failed attempts and repairs.

    The oldest attempt comes first; times are in UTC.

    Examples:
        orch history inventory
        orch history --since 7d --failed
        orch history --output csv
    """
    from orchestrator.cli.console import say, say_failures
    from orchestrator.cli.show import show
    from orchestrator.operations.history import history
    from orchestrator.operations.scope import Scope
    from orchestrator.views.plain import PlainView

    found = history(Scope(file, env_file, embedded=embedded), PlainView(say), name, since=since, failed=failed)
    show("history", output, found.found, whole=name is None, narrowed=failed or since is not None)
    say_failures(found.failures)
    return found.exit_code
