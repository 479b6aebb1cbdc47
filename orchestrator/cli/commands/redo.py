"""`orch redo`: the newest migrations down and up again, while they are being written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.scoped import scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped("wait", "lock_timeout", "embedded")
def command(
    *,
    name: options.Name,
    steps: Annotated[int, typer.Option("--steps", min=1, metavar="N", help="Redo the last N migrations.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    ignore_dependents: Annotated[
        bool,
        typer.Option("--ignore-dependents", help="Redo even if dependent databases still have applied migrations."),
    ] = False,
    scope: Scope,
    verbose: options.Verbose = False,
    prometheus: options.Prometheus = None,
) -> int:
    """Roll back the newest migrations of a database and apply them again from their current files.

    Use it while you write a migration: change its files, redo it, check the result. It shows a plan and
    asks before it runs.

    Examples:
        orch redo inventory
        orch redo inventory --steps 2 --yes
    """
    from orchestrator.cli.consent import agree, check_can_ask
    from orchestrator.cli.stage import Broadcast, execute, planning, shown
    from orchestrator.cli.watch import watch_for
    from orchestrator.operations import apply, rollback
    from orchestrator.operations.risk_policy import refuse_again
    from orchestrator.operations.scope import the_one

    check_can_ask("redo", yes=yes)
    text, broadcast = options.StreamOutput.text, Broadcast()
    scope = scope.just([name])
    the_one(scope.assemble(), name)
    with watch_for(broadcast, scope, prometheus=prometheus) as watch:
        with planning(broadcast, text):
            down = rollback.prepare(scope, broadcast, steps=steps, ignore_dependents=ignore_dependents)
        watch.plan_is_made(down)
        if (code := shown(down, broadcast, text, "Nothing to redo.")) is not None:
            return watch.ended(code)
        refuse_again(down)
        agree("to run this, and then to apply the same migrations again", yes=yes)
        if code := watch.ended(execute(down, broadcast, text, verbose=verbose)):
            return code
    (planned,) = down.plan.databases
    newest = max(step.version for step in planned.steps)
    broadcast = Broadcast()
    with watch_for(broadcast, scope, prometheus=prometheus) as watch:
        with planning(broadcast, text):
            up = apply.prepare(scope, broadcast, to=newest)
        watch.plan_is_made(up)
        return watch.ended(execute(up, broadcast, text, verbose=verbose))
