"""`orch status`: show version, pending migrations and problems of each database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from orchestrator.cli import options
from orchestrator.cli.parameters import Argument, Option
from orchestrator.cli.scoped import JOBS_AND_WAIT, SELECTION, scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped(*SELECTION, *JOBS_AND_WAIT, "embedded")
def command(
    *,
    names: Annotated[
        list[str] | None,
        Argument(
            metavar="[NAME]...",
            help="List the migrations of these databases, one by one. Default: one line for each database.",
            autocompletion=options.complete_pattern,
        ),
    ] = None,
    pending: Annotated[bool, Option("--pending", help="Show only databases, or migrations, that are pending.")] = False,
    problems: Annotated[
        bool, Option("--problems", help="Show only databases with problems or failed migrations.")
    ] = False,
    scope: Scope,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Show version, pending migrations and problems of each database. Changes nothing.

    With a NAME, it lists the migrations: [x] is applied, [ ] is pending, [!] failed or stopped half way. A database that
    cannot be reached shows ?. Exit code 5: a problem blocks migrations.

    Examples:
        orch status
        orch status inventory
        orch status --problems
        orch status --only inventory --no-deps
        orch status --output json
    """
    from orchestrator.cli.console import say, say_failures
    from orchestrator.cli.show import show
    from orchestrator.operations.status import status
    from orchestrator.views.plain import PlainView

    if names:
        scope = scope.just([*names, *(scope.only or ())])
    found = status(scope, PlainView(say), one_by_one=bool(names))
    shown = found.narrowed(pending=pending, problems=problems)
    if shown.databases or output is options.Output.json:
        show("status", output, shown)
    else:
        say("No database has problems." if problems else "No database is pending.")
    say_failures(found.failures)
    return found.exit_code
