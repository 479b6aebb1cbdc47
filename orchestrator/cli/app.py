"""Build the command tree for typer: the help, completion, and calls that are not plain."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from orchestrator.cli import options
from orchestrator.cli.command_table import COMMANDS, HELP
from orchestrator.cli.help_text import Command
from orchestrator.cli.parameters import for_typer


class Commands(typer.core.TyperGroup):
    """The group of all commands. It imports and builds a command only when it is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        names: dict[str, Any] = dict.fromkeys(COMMANDS)
        self.commands = names

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
        """Import and build the command with this name; return None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"orchestrator.cli.commands.{cmd_name.replace('-', '_')}")
        if hasattr(module, "app"):
            for registered in module.app.registered_commands:
                registered.callback = for_typer(registered.callback)
            group = typer.main.get_group(module.app)
            for one in group.commands.values():
                _complete(one)
            return group
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        alone.command(name=cmd_name, cls=Command, no_args_is_help=False)(for_typer(module.command))
        command = typer.main.get_command(alone)
        _complete(command)
        return command

    def get_help(self, ctx: Any) -> str:  # noqa: ARG002 - typer's signature
        """Return the text of `orch --help`."""
        return HELP.rstrip()


def _complete(command: Any) -> None:
    """Give a command the options that every command has."""
    taken = {parameter.name for parameter in command.params}
    if "env_file" in taken:
        command.params.append(options.no_env_file())
    command.params += options.of_every_command(taken)


app = typer.Typer(
    name="orch",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from orchestrator import __version__

        typer.echo(f"orch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version
