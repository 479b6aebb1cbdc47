"""`orch rollout`: continue a rollout that is paused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.help_text import Command
from orchestrator.cli.scoped import JOBS_AND_WAIT, scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope

app = typer.Typer(help="Continue a rollout that is paused.", no_args_is_help=True, rich_markup_mode=None)


@app.command(cls=Command)
@scoped(*JOBS_AND_WAIT, "lock_timeout")
def resume(
    *,
    groups: Annotated[
        list[str] | None,
        typer.Argument(metavar="[GROUP]...", help="The groups of the fleets that go on. Default: all."),
    ] = None,
    allow_out_of_order: options.AllowOutOfOrder = False,
    scope: Scope,
    engine: options.Engine = options.RunsOn.local,
    scheduler: options.Scheduler = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before data is lost.")] = False,
    output: options.StreamOption = options.StreamOutput.text,
    junit: options.JUnit = None,
    verbose: options.Verbose = False,
    timings: options.ShowTimings = False,
    prometheus: options.Prometheus = None,
) -> int:
    """Migrate the next wave without its pause. It is `orch apply` in all else.

    Examples:
        orch rollout resume
        orch rollout resume tenant
    """
    from contextlib import ExitStack

    from orchestrator.cli.cluster import on_workers, refuse_half_a_cluster
    from orchestrator.cli.stage import Broadcast, carry_out, planning, when_machines_read
    from orchestrator.cli.watch import watch_for
    from orchestrator.operations.apply import resume

    broadcast = Broadcast()
    when_machines_read(output, broadcast, junit, scope.file)
    refuse_half_a_cluster(engine, scheduler, scope)
    with ExitStack() as cluster, watch_for(broadcast, scope, timings=timings, prometheus=prometheus) as watch:
        with planning(broadcast, output):
            planned = resume(scope, broadcast, groups or (), late=allow_out_of_order)
            planned = cluster.enter_context(on_workers(planned, scope, scheduler, late=allow_out_of_order))
        watch.plan_is_made(planned)
        return watch.ended(carry_out(planned, broadcast, output, yes=yes, verbose=verbose, junit=junit))
