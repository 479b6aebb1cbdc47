"""`orch unlock`: show who holds the migration lock and remove it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.scoped import scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped("embedded")
def command(
    *,
    name: options.Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    terminate: Annotated[
        bool, typer.Option("--terminate", help="Terminate the running session that holds the lock.")
    ] = False,
    scope: Scope,
) -> int:
    """Show who holds the migration lock of a database, and remove the lock.

    This is needed on MongoDB after golang-migrate was killed.

    The lock of a running session is not removed; --terminate ends that session.

    Examples:
        orch unlock logs
        orch unlock order --terminate
    """
    import sys

    from orchestrator.cli.console import confirmed, is_terminal, out, say
    from orchestrator.errors import UsageError
    from orchestrator.operations.unlock import lock_of
    from orchestrator.views.plain import PlainView

    with lock_of(scope, PlainView(say), name) as lock:
        holder = lock.holder
        if holder is None:
            out(f"{lock.id} is not locked.")
            return 0
        out(f"{lock.id} is locked by {holder.description}.")
        lock.check(terminate=terminate)
        if not yes:
            if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
                raise UsageError("unlock asks before it removes a lock, and there is no terminal", hint="give --yes")
            if not confirmed("to end that session" if holder.alive else "if that process is gone"):
                out("The lock was left alone.")
                return 0
        lock.remove(terminate=terminate)
        out("The session was ended; the lock is free." if holder.alive else "The lock is removed.")
    return 0
