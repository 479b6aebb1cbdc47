"""`orch report`: the whole estate as one HTML file."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.scoped import JOBS_AND_WAIT, SELECTION, scoped

if TYPE_CHECKING:
    from orchestrator.events import Failure
    from orchestrator.operations.scope import Scope


class ReportOutput(StrEnum):
    """What is written."""

    html = "html"
    json = "json"


@scoped(*SELECTION, *JOBS_AND_WAIT, "embedded")
def command(
    *,
    out_file: Annotated[
        str | None, typer.Option("-o", "--out", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
    from_file: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Show what report, status, plan, apply or rollback wrote with --output json, and ask no server.",
        ),
    ] = None,
    scope: Scope,
    output: Annotated[ReportOutput, typer.Option("--output", help="Format of the report.")] = ReportOutput.html,
) -> int:
    """Write one HTML file with the graph, the states, the histories and the schemas of all databases. Changes nothing.

    The page can be opened without a server and loads nothing. A database that cannot be reached is shown as such (exit code 7).

    Examples:
        orch report -o estate.html
        orch report --output json > estate.json
        orch report --from estate.json -o estate.html
    """
    import sys

    from orchestrator.cli.console import is_terminal, say, say_failures
    from orchestrator.errors import UsageError
    from orchestrator.hints import Command, Hint
    from orchestrator.views.plain import PlainView

    if out_file is None and output is ReportOutput.html and is_terminal(sys.stdout):
        raise UsageError("a page is nothing for a terminal", hint=Hint(Command("report", "-o", "estate.html")))
    failures: tuple[tuple[str, Failure], ...] = ()
    code = 0
    if from_file is not None:
        from orchestrator.operations.report_file import read_report

        given = {
            "--file": scope.file,
            "--only": scope.only,
            "--exclude": scope.exclude,
            "--embedded": scope.embedded,
        }
        if unused := [name for name, value in given.items() if value]:
            raise UsageError(f"--from asks no server: {' and '.join(unused)} would change nothing")
        document = read_report(from_file)
    else:
        from orchestrator.operations.report import report
        from orchestrator.views.report.document import report_document

        found = report(scope, PlainView(say))
        document, failures, code = report_document(found), found.failures, found.exit_code
    _write(document, output, out_file)
    say_failures(failures)
    return code


def _write(document: dict[str, Any], output: ReportOutput, out_file: str | None) -> None:
    """Write the report to stdout or into a file. UsageError if the file cannot be written."""
    from orchestrator.cli.console import say
    from orchestrator.cli.show import write
    from orchestrator.cli.streams import put
    from orchestrator.manifest.redact import redactor
    from orchestrator.views.document import json_text

    if output is ReportOutput.json:
        text = redactor.once_more(json_text(document, indent=2)) + "\n"
    else:
        from orchestrator.views.report.page import report_page

        text = report_page(document, redactor.once_more)
    if out_file is None:
        put(text)
        return
    write(out_file, text)
    say(f"The report is in {out_file}.")
