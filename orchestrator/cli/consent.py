"""Ask a person before a plan runs of which the manifest's `risks` say so."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.cli.console import confirmed, is_terminal, paint, warn
from orchestrator.errors import InterruptedRunError
from orchestrator.operations.risk_policy import SHOWN, treated

if TYPE_CHECKING:
    from orchestrator.operations.plan import Planned


def ask(planned: Planned, *, yes: bool) -> None:
    """Ask before a risk of which the manifest says so; InterruptedRunError if the answer is not yes.

    Without a terminal nobody is asked, and the plan runs.
    """
    found = treated(planned, "ask")
    if yes or not found or not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return
    for id, risk, _ in found[:SHOWN]:
        warn(f"{paint('!', 'yellow', sys.stderr)} {id}: {risk.what}: {risk.where}\n    {risk.statement}")
    if len(found) > SHOWN:
        warn(f"and {len(found) - SHOWN} more")
    if not confirmed("to run this"):
        raise InterruptedRunError("not confirmed: nothing was changed")
