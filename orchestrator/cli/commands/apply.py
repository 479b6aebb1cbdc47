"""`orch apply`: make a plan, show it, execute it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from orchestrator.cli import options
from orchestrator.cli.parameters import Argument, Option
from orchestrator.cli.scoped import JOBS_AND_WAIT, SELECTION, scoped
from orchestrator.errors import UsageError
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
    engine: Annotated[
        options.RunsOn,
        Option("--engine", help="Migrate the databases in this process, or on the workers of a Dask cluster."),
    ] = options.RunsOn.local,
    scheduler: Annotated[
        str | None, Option("--scheduler", metavar="ADDRESS", help="The Dask scheduler, as tcp://host:8786.")
    ] = None,
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

    from orchestrator.cli.stage import Broadcast, carry_out, planning, when_machines_read
    from orchestrator.cli.watch import watch_for
    from orchestrator.operations.apply import prepare

    broadcast = Broadcast()
    when_machines_read(output, broadcast, junit, scope.file)
    if shard is not None:  # an empty one is a variable that is not set: not all databases
        from orchestrator.planning.shards import read_shard

        scope = replace(scope, shard=read_shard(shard, os.environ))
    _refuse_half_a_cluster(engine, scheduler, scope)
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
            if scheduler and planned.plan.has_changes:
                from orchestrator.operations.dask_cluster import needs_workers, on_cluster

                if needs_workers(planned.plan):
                    there = on_cluster(planned, scope, scheduler, create=not no_create, late=allow_out_of_order)
                    planned = cluster.enter_context(there)
        watch.plan_is_made(planned)
        return watch.ended(carry_out(planned, broadcast, output, yes=yes, verbose=verbose, junit=junit))


def _refuse_half_a_cluster(engine: options.RunsOn, scheduler: str | None, scope: Scope) -> None:
    """Raise UsageError for options of a Dask cluster that do not make one, before a server is asked."""
    if engine is options.RunsOn.local:
        if scheduler:
            raise UsageError("--scheduler is for --engine dask", hint="give both, or none")
        return
    if not scheduler:
        raise UsageError(
            "--engine dask needs the address of a scheduler", hint="for example --scheduler tcp://host:8786"
        )
    if scope.embedded:
        raise UsageError(
            "the workers of a cluster do not reach embedded servers", hint="leave out --engine, or --embedded"
        )
    from orchestrator.operations.dask_client import require_dask

    require_dask()
