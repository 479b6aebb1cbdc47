"""`orch dsn`: print the DSN of a database for other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options


def command(
    name: options.Name,
    no_password: Annotated[bool, typer.Option("--no-password", help="Print the DSN without its password.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a password is shown.")] = False,
    file: options.File = None,
    env_file: options.EnvFile = None,
    embedded: options.Embedded = False,
) -> int:
    """Print the DSN of a database, with its password.

    On a terminal it asks first, because the password can then be seen.

    Examples:
        psql "$(orch dsn order)"
        orch dsn logs --no-password
    """
    import sys

    from orchestrator.cli.console import confirmed, is_terminal, out_secret, say
    from orchestrator.manifest.retarget import without_password
    from orchestrator.operations.connect import target_of

    target = target_of(name, file, env_file, embedded=embedded)
    shown = without_password(target)
    text = shown if no_password else target.url.reveal()
    if text != shown and is_terminal(sys.stdout) and not yes and not confirmed("to show the password"):
        say("Nothing was shown.")
        return 1
    out_secret(text)
    return 0
