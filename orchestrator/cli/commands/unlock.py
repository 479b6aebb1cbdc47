"""`orch unlock`: remove a lock that nobody holds any more."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options


def command(
    name: options.Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    file: options.File = None,
    env_file: options.EnvFile = None,
    embedded: options.Embedded = False,
) -> int:
    """Show who holds the migration lock of a database, and remove it: for what a killed golang-migrate left in MongoDB.

    Example: orch unlock logs
    """
    import sys

    from orchestrator.cli.console import is_terminal, out
    from orchestrator.cli.records import one_database
    from orchestrator.errors import UsageError

    one = one_database(name, file, env_file, embedded=embedded)
    with one.session() as session:
        holder = session.holder()
        if holder is None:
            out(f"{one.id} is not locked.")
            return 0
        out(f"{one.id} is locked by {holder.description}.")
        if not yes:
            if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
                raise UsageError("unlock asks before it removes a lock, and there is no terminal", hint="give --yes")
            answer: str = typer.prompt("Type 'yes' if that process is gone", default="", show_default=False, err=True)
            if answer.strip() != "yes":
                out("The lock was left alone.")
                return 0
        session.unlock(holder)
        out("The lock is removed.")
    return 0
