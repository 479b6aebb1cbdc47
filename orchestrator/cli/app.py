"""The command tree, and the run of one command from its signals to its exit code."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from orchestrator.cli import options
from orchestrator.cli.command_table import COMMANDS, HELP
from orchestrator.errors import ExitCode


class Commands(typer.core.TyperGroup):
    """The commands. Only the one that is asked for is imported and built."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        names: dict[str, Any] = dict.fromkeys(COMMANDS)
        self.commands = names

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
        """Return the command of this name, built."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"orchestrator.cli.commands.{cmd_name.replace('-', '_')}")
        if hasattr(module, "app"):
            return typer.main.get_group(module.app)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        alone.command(name=cmd_name, no_args_is_help=False)(module.command)
        command = typer.main.get_command(alone)
        if any(parameter.name == "env_file" for parameter in command.params):
            command.params.append(options.no_env_file())
        return command

    def get_help(self, ctx: Any) -> str:  # noqa: ARG002 - typer's signature
        """Return what `orch --help` shows."""
        return HELP.rstrip()


app = typer.Typer(
    name="orch",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_came: list[int] = []
"""The signal that ended this run."""


def _version(wanted: bool) -> None:
    if wanted:
        from orchestrator import __version__

        typer.echo(f"orch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    del version


def run() -> int:
    """Run the command line; return its exit code. No error leaves as a traceback, unless ORCH_DEBUG is set."""
    _came.clear()
    _on_signals(_interrupted)
    if os.environ.get("_ORCH_COMPLETE") == "complete_bash":
        _take_label_of_bash()
    try:
        result = app(standalone_mode=False)
        if _came:  # typer makes an exit code of what was raised
            raise KeyboardInterrupt  # noqa: TRY301 - told below, as any end that came too early
        code = int(result or 0)
    except BaseException as error:  # noqa: BLE001 - this is the boundary to the user
        from orchestrator.cli.ends import report

        _on_signals(_at_once)
        code = report(error)
    if signal.getsignal(signal.SIGINT) is _interrupted:  # else the command is beyond being stopped
        _on_signals(_at_once)
    return code


def _take_label_of_bash() -> None:
    """Make one word of `label:co`, which bash breaks at the colon; it wants back what stands in the place of `co`."""
    words = os.environ.get("COMP_WORDS", "").split("\n")
    if words[-2:] == ["label", ":"]:
        before, begun = words[:-2], []
    elif words[-3:-1] == ["label", ":"] and words[-1]:
        before, begun = words[:-3], words[-1:]
    else:
        return
    os.environ |= {"COMP_WORDS": "\n".join(before + begun), "COMP_CWORD": str(len(before)), options.LABELS_ONLY: "1"}


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _interrupted(number: int, _frame: FrameType | None) -> None:
    """A signal ends the command: the next run finds out what is true. `apply` and `rollback` stop in order."""
    _came.append(number)
    _on_signals(_at_once)
    raise KeyboardInterrupt


def _at_once(_signal: int, _frame: FrameType | None) -> None:
    """Again, or while the end is being told."""
    os._exit(int(ExitCode.INTERRUPTED))
