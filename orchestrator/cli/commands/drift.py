"""`orch drift`: compare the schema of a database with what its migrations make."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.scoped import JOBS_AND_WAIT, scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


class DriftOutput(StrEnum):
    """Formats of stdout."""

    text = "text"
    json = "json"
    github = "github"


@scoped(*JOBS_AND_WAIT, "lock_timeout", "embedded")
def command(
    *,
    names: options.Names = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Accept the databases as they are: later comparisons start from this state. Needs a NAME."
        ),
    ] = False,
    kept: Annotated[
        bool,
        typer.Option("--kept", help="Compare with the schema snapshot of the last apply, without a scratch database."),
    ] = False,
    scope: Scope,
    output: Annotated[DriftOutput, typer.Option("--output", help="Format of stdout.")] = DriftOutput.text,
    junit: Annotated[str | None, typer.Option("--junit", metavar="FILE", help="Also write a JUnit report.")] = None,
) -> int:
    """Show schema changes that no migration made. Exit code 3: there are some.

    A database is compared with the result of its files in a scratch database, or with the schema snapshot that the last
    apply kept (where the manifest says drift: warn or refuse). Nothing is changed.

    Examples:
        orch drift
        orch drift inventory --kept
        orch drift inventory --accept
    """
    from orchestrator.cli.console import say, say_failures
    from orchestrator.cli.show import show, write
    from orchestrator.errors import UsageError, exit_code_of
    from orchestrator.hints import NAME, Command, Hint
    from orchestrator.operations.drift import accept_all, look
    from orchestrator.views.formats import view
    from orchestrator.views.plain import PlainView

    if accept and not names:
        raise UsageError("--accept needs the name of a database", hint=Hint(Command("drift", NAME, "--accept")))
    scope = scope.just(names)
    if accept:
        outcome = accept_all(scope, PlainView(say))
        for id, failure in outcome.items():
            if failure is None:
                say(f"{id}: taken as it is now.")
        failures = {id: failure for id, failure in outcome.items() if failure}
        say_failures(failures.items())
        return exit_code_of(failure.exit_code for failure in failures.values())
    report = look(scope, PlainView(say), kept=kept)
    if junit is not None:
        write(junit, view("drift", "junit")(report.databases))
    if output is DriftOutput.github:
        say(view("drift", "text")(report.databases))
    show("drift", output, report.databases)
    say_failures((one.database, one.failure) for one in report.databases if one.failure)
    return report.exit_code
