"""`orch dev`: the embedded servers under .orch/."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.help_text import Command

app = typer.Typer(
    help="Run real servers for development from wheels, without Docker.", no_args_is_help=True, rich_markup_mode=None
)


@app.command(cls=Command)
def up(file: options.File = None) -> int:
    """Start the servers that the manifest needs. Data is kept under .orch/.

    Examples:
        orch dev up
        orch dev up && orch apply --embedded
    """
    from orchestrator.cli.show import show
    from orchestrator.operations import dev

    show("servers", "text", dev.up(file))
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
    from orchestrator.cli.show import show
    from orchestrator.operations import dev

    show("servers stopped", "text", *dev.down(file, delete=delete))
    return 0


@app.command(cls=Command)
def status(file: options.File = None, output: options.OutputOption = options.Output.text) -> int:
    """Show the servers that run.

    Examples:
        orch dev status
        orch dev status --output json
    """
    from orchestrator.cli.show import show
    from orchestrator.operations import dev

    show("servers", output, dev.status(file))
    return 0


@app.command(cls=Command)
def env(file: options.File = None) -> int:
    """Print the variables of the running servers for a shell. It holds their passwords, as no other output does.

    Examples:
        eval "$(orch dev env)" && orch status
    """
    import shlex

    from orchestrator.cli.console import out_secret
    from orchestrator.operations import dev

    out_secret("\n".join(f"export {name}={shlex.quote(value)}" for name, value in dev.environment(file).items()))
    return 0
