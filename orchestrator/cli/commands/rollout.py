"""`orch rollout`: continue a rollout that is paused."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.help_text import Command
from orchestrator.execution.scheduler import JOBS, JOBS_PER_SERVER

app = typer.Typer(help="Continue a rollout that is paused.", no_args_is_help=True, rich_markup_mode=None)


@app.command(cls=Command)
def resume(
    groups: Annotated[
        list[str] | None,
        typer.Argument(metavar="[GROUP]...", help="The groups of the fleets that go on. Default: all."),
    ] = None,
    file: options.File = None,
    env_file: options.EnvFile = None,
    jobs: options.Jobs = JOBS,
    jobs_per_server: options.JobsPerServer = JOBS_PER_SERVER,
    wait: options.Wait = 0.0,
    lock_timeout: options.LockTimeout = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before something is lost.")] = False,
    output: options.StreamOption = options.StreamOutput.text,
    verbose: options.Verbose = False,
) -> int:
    """Migrate the next wave without its pause. It is `orch apply` in all else.

    Examples:
        orch rollout resume
        orch rollout resume tenant
    """
    from orchestrator.cli.stage import Broadcast, carry_out, planning, when_machines_read
    from orchestrator.operations.apply import resume
    from orchestrator.operations.scope import Scope

    broadcast = Broadcast()
    when_machines_read(output, broadcast, None, file)
    scope = Scope(file, env_file, jobs=jobs, jobs_per_server=jobs_per_server, wait=wait, lock_timeout=lock_timeout)
    with planning(broadcast, output):
        planned = resume(scope, broadcast, groups or ())
    return carry_out(planned, broadcast, output, yes=yes, verbose=verbose, junit=None)
