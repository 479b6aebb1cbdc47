"""Build the command tree; run one command, handle its signals and return its exit code."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from orchestrator.cli import options
from orchestrator.cli.command_table import COMMANDS, HELP
from orchestrator.cli.help_text import Command
from orchestrator.errors import ExitCode


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
            group = typer.main.get_group(module.app)
            for one in group.commands.values():
                _complete(one)
            return group
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        alone.command(name=cmd_name, cls=Command, no_args_is_help=False)(module.command)
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


_came: list[int] = []
"""The signals that this run has received."""


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


def run() -> int:
    """Run the command line and return its exit code. Errors become messages; ORCH_DEBUG=1 adds the traceback."""
    _came.clear()
    _on_signals(_interrupted)
    if os.environ.get("_ORCH_COMPLETE") == "complete_bash":
        _take_label_of_bash()
    began = time.monotonic()
    try:
        result = app(standalone_mode=False, prog_name="orch")  # also as python -m orchestrator
        if _came:  # typer turns the exception into an exit code
            raise KeyboardInterrupt  # noqa: TRY301 - reported below, like any error
        code = int(result or 0)
        if os.environ.get(options.VERBOSE):
            _tell_more(time.monotonic() - began)
    except BaseException as error:  # noqa: BLE001 - the outermost handler
        from orchestrator.cli.ends import report

        _on_signals(_at_once)
        code = report(error)
    if signal.getsignal(signal.SIGINT) is _interrupted:  # otherwise the command handles signals itself
        _on_signals(_at_once)
    return code


def _tell_more(seconds: float) -> None:
    """Tell what --verbose adds to every command."""
    from pathlib import Path

    from orchestrator import __version__
    from orchestrator.cli.console import given_file, say
    from orchestrator.errors import OrchError
    from orchestrator.manifest.load import find_manifest

    try:
        manifest = f", {find_manifest(given_file(), os.environ, Path.cwd())}"
    except OrchError:
        manifest = ""
    say(f"orch {__version__}{manifest}, {seconds:.2f} s.")


def _take_label_of_bash() -> None:
    """Rejoin `label:co`, which Bash splits at the colon, and complete only the label."""
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
    """End the command at the first signal. `apply` and `rollback` install handlers of their own and stop in order."""
    _came.append(number)
    _on_signals(_at_once)
    raise KeyboardInterrupt


def _at_once(_signal: int, _frame: FrameType | None) -> None:
    """End the process at a second signal, or at one that arrives while the error is being reported."""
    os._exit(int(ExitCode.INTERRUPTED))
