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
    from orchestrator.cli.console import out, out_json, say, say_failures
    from orchestrator.cli.records import one_database
    from orchestrator.cli.streams import put
    from orchestrator.events import Failure
    from orchestrator.execution.survey import survey
    from orchestrator.operations.assembly import assemble
    from orchestrator.views.history_text import attempts_csv, chosen, estate_document, history_document, history_text
    from orchestrator.views.history_text import since as moment
    from orchestrator.views.plain import PlainView

    begin = moment(since) if since else None
    failures: list[tuple[str, Failure]] = []
    if name is not None:
        one = one_database(name, file, env_file, embedded=embedded)
        histories = {one.id: one.read()}
    else:
        assembly = assemble(file, env_file)
        found = survey(assembly.run(PlainView(say), embedded=embedded), reads=True)
        failures = [(id, seen.failure) for id, seen in found.items() if seen.failure]
        histories = {id: seen.history for id, seen in found.items() if not seen.failure}
    histories = {id: chosen(history, begin, failed=failed) for id, history in histories.items()}
    if output is HistoryOutput.csv:
        put(attempts_csv(histories))
    elif output is HistoryOutput.json:
        only = next(iter(histories.items())) if name is not None else None
        out_json({"format": 1, "id": only[0], **history_document(only[1])} if only else estate_document(histories))
    else:
        out(history_text(histories, whole=name is None, narrowed=failed or begin is not None))
    say_failures(failures)
    return failures[0][1].exit_code if failures else 0
