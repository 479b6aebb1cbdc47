"""`orch status`: show version, pending migrations and problems of each database."""

from __future__ import annotations

from orchestrator.cli import options
from orchestrator.execution.scheduler import JOBS, JOBS_PER_SERVER


def command(
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

    Exit code 5: a problem blocks migrations.

    Examples:
        orch status
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
        only,
        exclude,
        no_deps=no_deps,
        embedded=embedded,
        jobs=jobs,
        jobs_per_server=jobs_per_server,
        wait=wait,
    )
    found = status(scope, PlainView(say))
    show("status", output, found)
    say_failures(found.failures)
    return found.exit_code
