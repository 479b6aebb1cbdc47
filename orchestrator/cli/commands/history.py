"""`orch history`: the migration history of a database, or of all."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.scoped import scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


class HistoryOutput(StrEnum):
    """What stdout holds."""

    text = "text"
    json = "json"
    csv = "csv"


@scoped("embedded")
def command(
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="The database. Default: every database.", autocompletion=options.complete_name
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="AGE", help="Show attempts of the last 7d, 12h or 30m, or since a date in UTC."
        ),
    ] = None,
    text: Annotated[
        int | None,
        typer.Option(
            "--text", metavar="VERSION", help="Show the files of VERSION as the history keeps them; needs a NAME."
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-n", min=0, metavar="N", help="Show only the newest N attempts as text; 0: all of them."
        ),
    ] = 100,
    failed: Annotated[bool, typer.Option("--failed", help="Show only attempts that failed or did not finish.")] = False,
    scope: Scope,
    output: Annotated[HistoryOutput, typer.Option("--output", help="Format of stdout.")] = HistoryOutput.text,
) -> int:
    """Show the migration history of one database or of all, including failed attempts and repairs.

    The newest attempt comes last; times are in UTC.

    Examples:
        orch history inventory
        orch history --limit 20
        orch history --since 7d --failed
        orch history --output csv
        orch history inventory --text 3
    """
    from orchestrator.cli.console import say, say_failures
    from orchestrator.cli.show import show
    from orchestrator.operations.history import history
    from orchestrator.views.plain import PlainView

    if text is not None:
        return _show_text(name, text, scope, output)
    found = history(scope, PlainView(say), name, since=since, failed=failed)
    shown = limit if output is HistoryOutput.text else 0
    narrowed = failed or since is not None
    show("history", output, found.found, whole=name is None, narrowed=narrowed, limit=shown)
    say_failures(found.failures)
    return found.exit_code


def _show_text(name: str | None, version: int, scope: Scope, output: HistoryOutput) -> int:
    """Show the kept text of one version."""
    from orchestrator.cli.console import out, out_json, say
    from orchestrator.errors import UsageError
    from orchestrator.hints import NAME, Command, Hint
    from orchestrator.operations.kept import texts
    from orchestrator.views.plain import PlainView

    if name is None or output is HistoryOutput.csv:
        what = "--text needs the name of a database" if name is None else "--text is no table: it has no csv"
        raise UsageError(what, hint=Hint(Command("history", name or NAME, "--text", version)))
    shown = texts(scope, PlainView(say), name, version)
    if output is HistoryOutput.json:
        out_json({"format": 1, "id": shown.id, "version": version, "attempt": shown.attempt.number, **shown.ways})
        return 0
    about = f"version {version} ({shown.attempt.name}), attempt {shown.attempt.number}"
    for way, text in shown.ways.items():
        out(f"-- {about}: {way} file\n{text.rstrip()}\n")
    return 0
