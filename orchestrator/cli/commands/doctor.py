"""`orch doctor`: are the servers of the manifest reached, and ready for migrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import options
from orchestrator.cli.scoped import JOBS_AND_WAIT, SELECTION, scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped(*SELECTION, *JOBS_AND_WAIT, "embedded")
def command(
    *,
    scope: Scope,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Check every server: connection, version, rights, clock, poolers, replicas, and what is slow. Changes nothing.

    CONNECT and ANSWER are the time that a connection and a question took; CLOCK is how far the clock of the server is
    ahead of the clock of this machine. Exit code 1: something stops migrations; 7: a server cannot be reached.

    Examples:
        orch doctor
        orch doctor --only inventory --no-deps
        orch doctor --output json
    """
    from orchestrator import __version__
    from orchestrator.cli.console import say, say_failures
    from orchestrator.cli.show import show
    from orchestrator.operations.doctor import doctor
    from orchestrator.views.plain import PlainView

    say(f"orch {__version__}")
    health = doctor(scope, PlainView(say))
    show("doctor", output, health)
    say_failures(health.failures)
    return health.exit_code
