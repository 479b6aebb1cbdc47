"""`orch shell`: open the client program of a database."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options


def command(
    name: options.Name,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGUMENT...]", help="Arguments for the program, such as -c SQL.")
    ] = None,
    file: options.File = None,
    env_file: options.EnvFile = None,
    embedded: options.Embedded = False,
) -> None:
    """Open psql, mongosh, mysql or sqlite3 on a database, with the login of its DSN.

    The password is not on the command line of that program, where other users of the machine could read it.

    Examples:
        orch shell order
        orch shell order -- -c "SELECT count(*) FROM orders"
    """
    from orchestrator.operations.connect import open_shell, target_of

    open_shell(target_of(name, file, env_file, embedded=embedded), arguments or [])
