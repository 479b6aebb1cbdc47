"""`orch apply`: make a plan, show it, execute it."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.execution.scheduler import JOBS, JOBS_PER_SERVER


def command(
    plan_file: Annotated[
        str | None,
        typer.Argument(
            metavar="[PLAN]", help="Execute this plan, written by `orch plan --out`. Default: make a plan now."
        ),
    ] = None,
    file: options.File = None,
    env_file: options.EnvFile = None,
    only: options.Only = None,
    exclude: options.Exclude = None,
    no_deps: options.NoDeps = False,
    to: Annotated[
        int | None,
        typer.Option(
            "--to", min=0, metavar="VERSION", help="Migrate up to this version. Needs --only with one database."
        ),
    ] = None,
    no_create: options.NoCreate = False,
    allow_out_of_order: options.AllowOutOfOrder = False,
    jobs: options.Jobs = JOBS,
    jobs_per_server: options.JobsPerServer = JOBS_PER_SERVER,
    wait: options.Wait = 0.0,
    lock_timeout: options.LockTimeout = None,
    embedded: options.Embedded = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Start nothing new after the first failure.")] = False,
    failed: Annotated[
        bool,
        typer.Option("--failed", help="Only the databases that the last run left behind: failed, or not begun."),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Be one of N runs at the same time: migrate a part of the databases. auto: as Kubernetes or GitLab says.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before something is lost.")] = False,
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

    from orchestrator.cli.stage import Broadcast, carry_out, planning, when_machines_read
    from orchestrator.cli.watch import watch_for
    from orchestrator.operations.apply import prepare
    from orchestrator.operations.scope import Scope

    broadcast = Broadcast()
    when_machines_read(output, broadcast, junit, file)
    one_of = None
    if shard:
        from orchestrator.planning.shards import read_shard

        one_of = read_shard(shard, os.environ)
    scope = Scope(
        file,
        env_file,
        only,
        exclude,
        no_deps=no_deps,
        embedded=embedded,
        jobs=jobs,
        jobs_per_server=jobs_per_server,
        wait=wait,
        lock_timeout=lock_timeout,
        shard=one_of,
    )
    with watch_for(broadcast, scope, timings=timings, prometheus=prometheus) as watch:
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
        watch.plan_is_made(planned)
        return watch.ended(carry_out(planned, broadcast, output, yes=yes, verbose=verbose, junit=junit))
