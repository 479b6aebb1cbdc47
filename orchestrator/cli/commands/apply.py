"""`orch apply`: make a plan, show it, execute it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from orchestrator.cli import options
from orchestrator.cli.parameters import Argument, Option
from orchestrator.cli.scoped import JOBS_AND_WAIT, SELECTION, scoped
from orchestrator.records import replace

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped(*SELECTION, *JOBS_AND_WAIT, "lock_timeout", "embedded")
def command(
    *,
    plan_file: Annotated[
        str | None,
        Argument(metavar="[PLAN]", help="Execute this plan, written by `orch plan --out`. Default: make a plan now."),
    ] = None,
    to: Annotated[
        int | None,
        Option("--to", min=0, metavar="VERSION", help="Migrate up to this version. Needs --only with one database."),
    ] = None,
    no_create: options.NoCreate = False,
    allow_out_of_order: options.AllowOutOfOrder = False,
    scope: Scope,
    fail_fast: Annotated[bool, Option("--fail-fast", help="Start nothing new after the first failure.")] = False,
    failed: Annotated[
        bool,
        Option("--failed", help="Migrate only the databases that failed in the last run, or that it did not start."),
    ] = False,
    shard: Annotated[
        str | None,
        Option(
            "--shard",
            metavar="I/N",
            help="Migrate part I of N, while other runs migrate the other parts. auto: take I/N from Kubernetes or GitLab.",
        ),
    ] = None,
    engine: options.Engine = options.RunsOn.local,
    scheduler: options.Scheduler = None,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask before data is lost.")] = False,
    output: options.StreamOption = options.StreamOutput.text,
    junit: options.JUnit = None,
    verbose: options.Verbose = False,
    timings: options.ShowTimings = False,
    prometheus: options.Prometheus = None,
) -> int:
    """Create missing databases and apply all pending migrations, in the order of the dependencies.

    Examples:
        orch apply
        orch apply --only inventory
        orch apply --only 'label:core' --wait 60
        orch apply plan.json
        orch apply --failed
    """
    import os
    from contextlib import ExitStack

    from orchestrator.cli.cluster import on_workers, refuse_half_a_cluster
    from orchestrator.cli.stage import Broadcast, carry_out, planning, when_machines_read
    from orchestrator.cli.watch import watch_for
    from orchestrator.operations.apply import prepare

    broadcast = Broadcast()
    when_machines_read(output, broadcast, junit, scope.file)
    if shard is not None:  # an empty one is a variable that is not set: not all databases
        from orchestrator.planning.shards import read_shard

        scope = replace(scope, shard=read_shard(shard, os.environ))
    refuse_half_a_cluster(engine, scheduler, scope)
    with ExitStack() as cluster, watch_for(broadcast, scope, timings=timings, prometheus=prometheus) as watch:
        with planning(broadcast, output):
            planned = prepare(
                scope,
                broadcast,
                plan_file=plan_file,
                to=to,
                create=not no_create,
                late=allow_out_of_order,
                fail_fast=fail_fast,
                failed=failed,
            )
            planned = cluster.enter_context(
                on_workers(planned, scope, scheduler, create=not no_create, late=allow_out_of_order)
            )
        watch.plan_is_made(planned)
        return watch.ended(carry_out(planned, broadcast, output, yes=yes, verbose=verbose, junit=junit))
