"""`orch doctor`: are the servers of the manifest reached, and ready for migrations."""

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
    """Check every server: version, rights, clock, poolers, replicas, and what is slow. Changes nothing.

    CONNECT and ANSWER are the time that a connection and a question took; CLOCK is how far the clock of the server is
    ahead of the one here. Exit code 1: something stops migrations; 7: a server cannot be reached.

    Examples:
        orch doctor
        orch doctor --only inventory --no-deps
        orch doctor --output json
    """
    from orchestrator import __version__
    from orchestrator.cli.console import say, say_failures
    from orchestrator.cli.show import show
    from orchestrator.operations.doctor import doctor
    from orchestrator.operations.scope import Scope
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
    say(f"orch {__version__}")
    health = doctor(scope, PlainView(say))
    show("doctor", output, health)
    say_failures(health.failures)
    return health.exit_code
