"""Ask a person before a plan runs: a rollback always, an apply if the manifest's `risks` say so."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.cli.console import confirmed, is_terminal, paint, warn
from orchestrator.errors import InterruptedRunError, UsageError
from orchestrator.operations.risk_policy import SHOWN, treated

if TYPE_CHECKING:
    from orchestrator.operations.plan import Planned


def ask(planned: Planned, *, yes: bool) -> None:
    """Ask before a risk of which the manifest says so; InterruptedRunError if the answer is not yes.

    Without a terminal nobody is asked, and the plan runs.
    """
    found = treated(planned, "ask")
    if yes or not found or not _can_ask():
        return
    for id, risk, _ in found[:SHOWN]:
        warn(f"{paint('!', 'yellow', sys.stderr)} {id}: {risk.what}: {risk.where}\n    {risk.statement}")
    if len(found) > SHOWN:
        warn(f"and {len(found) - SHOWN} more")
    agree("to run this", yes=yes)


def check_can_ask(command: str, *, yes: bool) -> None:
    """Raise UsageError where a command must ask before it runs and there is no terminal."""
    if not yes and not _can_ask():
        raise UsageError(f"{command} asks before it runs, and there is no terminal to ask on", hint="give --yes")


def agree(question: str, *, yes: bool) -> None:
    """Raise InterruptedRunError unless a person agrees, or has agreed already with --yes."""
    if not yes and not confirmed(question):
        raise InterruptedRunError("not confirmed: nothing was changed")


def _can_ask() -> bool:
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)
