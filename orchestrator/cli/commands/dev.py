"""`orch dev`: the embedded servers under .orch/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.help_text import Command
from orchestrator.hints import Command as OrchCommand
from orchestrator.hints import Hint

app = typer.Typer(
    help="Real servers for development, from wheels: no Docker.", no_args_is_help=True, rich_markup_mode=None
)


def _root(file: str | None) -> Path:
    import os

    from orchestrator.manifest.load import find_manifest

    return find_manifest(file, os.environ, Path.cwd()).parent / ".orch"


@app.command(cls=Command)
def up(file: options.File = None) -> int:
    """Start the servers that the manifest needs. Data is kept under .orch/.

    Examples:
        orch dev up
        orch dev up && orch apply --embedded
    """
    import os

    from orchestrator import embedded
    from orchestrator.cli.console import out
    from orchestrator.manifest.load import find_manifest, load

    manifest = load(find_manifest(file, os.environ, Path.cwd()), directories=False)
    servers = embedded.up(_root(file), {database.engine for database in manifest.databases})
    for server in servers.values():
        out(f"{server.product} at {server.host}:{server.port} (pid {server.pid})")
    return 0


@app.command(cls=Command)
def down(
    file: options.File = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete their data too.")] = False,
) -> int:
    """Stop the servers. Their data stays, unless --delete.

    Examples:
        orch dev down
        orch dev down --delete
    """
    from orchestrator import embedded
    from orchestrator.cli.console import out
    from orchestrator.manifest.source import shown

    stopped = embedded.down(_root(file))
    lines = [f"stopped {server.product}" for server in stopped] or ["nothing was running"]
    if delete:
        embedded.remove(_root(file))
        lines.append(f"their data under {shown(_root(file))} is deleted")
    out("\n".join(lines))
    return 0


@app.command(cls=Command)
def status(file: options.File = None, output: options.OutputOption = options.Output.text) -> int:
    """Show the servers that run.

    Examples:
        orch dev status
        orch dev status --output json
    """
    from orchestrator import embedded
    from orchestrator.cli.console import out, out_json, pasteable

    servers = embedded.status(_root(file))
    if output is options.Output.json:
        keys = ("engine", "product", "host", "port", "pid")
        out_json({"format": 1, "servers": [{key: getattr(server, key) for key in keys} for server in servers]})
    else:
        lines = [f"{server.product} at {server.host}:{server.port} (pid {server.pid})" for server in servers]
        out("\n".join(lines) or pasteable(Hint("nothing is running; start: ", OrchCommand("dev", "up"))))
    return 0


@app.command(cls=Command)
def env(file: options.File = None) -> int:
    """Print the variables of the running servers for a shell. It holds their passwords, as no other output does.

    Examples:
        eval "$(orch dev env)" && orch status
    """
    import shlex

    from orchestrator import embedded
    from orchestrator.cli.console import out_secret
    from orchestrator.errors import OrchError

    servers = embedded.status(_root(file))
    if not servers:
        raise OrchError("no embedded server is running", hint=Hint(OrchCommand("dev", "up")))
    variables = embedded.environment(servers)
    out_secret("\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()))
    return 0
