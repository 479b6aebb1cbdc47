"""`orch rollback`: roll back applied migrations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.scoped import scoped

if TYPE_CHECKING:
    from orchestrator.operations.plan import Planned
    from orchestrator.operations.scope import Scope


@scoped("wait", "lock_timeout", "embedded")
def command(
    *,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="The database. Several are rolled back in reverse order of their dependencies.",
            autocompletion=options.complete_name,
        ),
    ],
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", help="Roll back the last N migrations.")
    ] = None,
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            min=0,
            metavar="VERSION",
            help="Roll back every migration above this version. A migration with version 0 stays with --to 0.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be rolled back, and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    allow_missing_down: Annotated[
        bool, typer.Option("--allow-missing-down", help="If a down file is missing, change only the history.")
    ] = False,
    ignore_dependents: Annotated[
        bool,
        typer.Option(
            "--ignore-dependents", help="Roll back even if dependent databases still have applied migrations."
        ),
    ] = False,
    scope: Scope,
    output: options.StreamOption = options.StreamOutput.text,
    verbose: options.Verbose = False,
    prometheus: options.Prometheus = None,
) -> int:
    """Roll back applied migrations. Shows a plan and asks before it runs.

    Examples:
        orch rollback inventory --steps 1
        orch rollback inventory --steps 1 --dry-run
        orch rollback inventory order --to 0 --yes
    """
    from orchestrator.cli.consent import agree, check_can_ask
    from orchestrator.cli.stage import Broadcast, execute, planning, shown, when_machines_read
    from orchestrator.cli.watch import watch_for
    from orchestrator.operations.rollback import check_request, prepare

    broadcast = Broadcast()
    when_machines_read(output, broadcast, None, scope.file)
    check_request(names, steps, to)
    check_can_ask("rollback", yes=yes or dry_run)
    scope = replace(scope, only=names)

    def prepared() -> Planned:
        with planning(broadcast, output):
            return prepare(
                scope,
                broadcast,
                steps=steps,
                to=to,
                allow_missing_down=allow_missing_down,
                ignore_dependents=ignore_dependents,
            )

    if dry_run:
        return _show(prepared(), output)
    with watch_for(broadcast, scope, prometheus=prometheus) as watch:
        planned = prepared()
        watch.plan_is_made(planned)
        if (code := shown(planned, broadcast, output, "Nothing to roll back.")) is not None:
            return watch.ended(code)
        agree("to run this", yes=yes)
        return watch.ended(execute(planned, broadcast, output, verbose=verbose))


def _show(planned: Planned, output: options.StreamOutput) -> int:
    """Show what would be rolled back; the exit code is that of what stands in the way."""
    from orchestrator.cli.console import say, say_failures
    from orchestrator.cli.show import show

    if output is options.StreamOutput.json:
        show("plan", "json", planned.plan)
    elif output is options.StreamOutput.text:
        show("plan", "text", planned.plan, planned.risks)
    say_failures(planned.failures)
    say("Nothing was changed (--dry-run).")
    return planned.exit_code
