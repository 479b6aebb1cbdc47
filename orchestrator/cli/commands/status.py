"""`orch status`: show version, pending migrations and problems of each database."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.execution.scheduler import JOBS, JOBS_PER_SERVER


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="List the migrations of these databases, one by one. Default: one line for each database.",
            autocompletion=options.complete_pattern,
        ),
    ] = None,
    pending: Annotated[
        bool, typer.Option("--pending", help="Show only databases, or migrations, that are pending.")
    ] = False,
    problems: Annotated[bool, typer.Option("--problems", help="Show only databases with problems.")] = False,
    file: options.File = None,
    env_file: options.EnvFile = None,
    only: options.Only = None,
    exclude: options.Exclude = None,
    no_deps: options.NoDeps = False,
    jobs: options.Jobs = JOBS,
    jobs_per_server: options.JobsPerServer = JOBS_PER_SERVER,
    wait: options.Wait = 0.0,
    embedded: options.Embedded = False,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Show version, pending migrations and problems of each database. Changes nothing.

    With a NAME, it lists the migrations: [x] is applied, [ ] is pending, [!] stopped half way. A database that cannot be
    reached shows ?. Exit code 5: a problem blocks migrations.

    Examples:
        orch status
        orch status inventory
        orch status --problems
        orch status --only inventory --no-deps
        orch status --output json
    """
    from orchestrator.cli.console import say, say_failures
    from orchestrator.cli.show import show
    from orchestrator.operations.scope import Scope
    from orchestrator.operations.status import status
    from orchestrator.views.plain import PlainView

    scope = Scope(
        file,
        env_file,
        [*(names or ()), *(only or ())] or None,
        exclude,
        no_deps=no_deps or bool(names),
        embedded=embedded,
        jobs=jobs,
        jobs_per_server=jobs_per_server,
        wait=wait,
    )
    found = status(scope, PlainView(say), one_by_one=bool(names))
    shown = found.narrowed(pending=pending, problems=problems)
    if shown.databases or output is options.Output.json:
        show("status", output, shown)
    else:
        say("No database has problems." if problems else "No database is pending.")
    say_failures(found.failures)
    return found.exit_code
