"""The command tree, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from itertools import pairwise
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
import typer.main

from orchestrator.cli import options
from orchestrator.cli.commands import COMMANDS, HELP
from orchestrator.errors import ExitCode

if TYPE_CHECKING:
    from orchestrator.events import Failure


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
        module = import_module(f"orchestrator.cli.{cmd_name.replace('-', '_')}")
        if hasattr(module, "app"):
            return typer.main.get_group(module.app)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        alone.command(name=cmd_name, no_args_is_help=False)(module.command)
        return typer.main.get_command(alone)

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
        _on_signals(_at_once)
        code = _report(error)
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


_OTHER_WORDS = {
    "up": "apply",
    "migrate": "apply",
    "down": "rollback",
    "list": "status",
    "ls": "status",
    "check": "validate",
    "force": "repair",
    "create": "new",
}


def _usage_hint(command: str, message: str) -> str:
    """Return the call that was probably meant, or where the help is."""
    if (found := re.search(r"unexpected extra arguments?(?:\(s\))? \((.+)\)", message)) and _takes_only(command):
        return " ".join([command, *(f"--only {name}" for name in found[1].split())])
    if found := re.search(r"No such command '(\w+)'\.?$", message):
        return f"orch {_OTHER_WORDS.get(found[1], '')} --help".replace("  ", " ")
    if command == "orch apply" and "No such option: --dry-run" in message:
        return "orch plan shows what apply would do"
    if command == "orch" and "No such option" in message:
        return "options come after the command, as in: orch apply --only order"
    return f"{command} --help"


def _takes_only(command: str) -> bool:
    name = command.rpartition(" ")[2]
    return name in COMMANDS and "only" in signature(import_module(f"orchestrator.cli.{name}").command).parameters


def _report(error: BaseException) -> int:
    """Tell people and machines why the command ended; return the exit code."""
    from orchestrator.cli.console import say, say_failure

    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, typer.Exit):
        return error.exit_code
    if type(error).__name__ == "NoArgsIsHelpError":
        say(str(error))
        return int(ExitCode.USAGE)
    if isinstance(error, BrokenPipeError):
        return 141
    failures = _failures(error)
    _report_to_machines(failures)
    if failures[0].kind == "interrupted":
        say(failures[0].what)
    else:
        for failure in failures:
            say_failure(failure)
    return failures[0].exit_code


def _failures(error: BaseException) -> tuple[Failure, ...]:
    from orchestrator.assembly import redactor
    from orchestrator.cli.streams import tell
    from orchestrator.events import Failure

    if isinstance(error, (KeyboardInterrupt, EOFError)) or type(error).__name__ == "Abort":
        return (Failure("interrupted", int(ExitCode.INTERRUPTED), "interrupted"),)
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # one of typer's own usage errors
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "orch"
        message = error.format_message()
        return (Failure("usage", int(ExitCode.USAGE), message, hint=_usage_hint(command, message)),)
    if os.environ.get("ORCH_DEBUG"):
        import traceback

        tell(redactor("".join(traceback.format_exception(error))))
    if isinstance(error, OSError):  # a disk that is full, a file that is not ours: no fault of orch
        what = ": ".join(filter(None, [redactor(str(error.filename or "")), error.strerror or str(error)]))
        return (Failure("failed", int(ExitCode.FAILED), what),)
    return Failure.all_of(error, redactor)


def _report_to_machines(failures: tuple[Failure, ...]) -> None:
    """Write what was asked for on stdout and in files, also when the command line itself was not understood."""
    output = _given("--output")
    if output == "json":
        from dataclasses import asdict

        from orchestrator.cli.console import out_json

        out_json({"format": 1, "errors": [asdict(failure) for failure in failures]})
    if sys.argv[1:2] in (["apply"], ["plan"], ["rollback"], ["verify"]):
        from orchestrator.cli import machine

        machine.refuse(failures, output, _given("--junit"))


def _given(option: str) -> str:
    """Return the value of an option as the command line has it, read without knowing the command."""
    for word, following in pairwise([*sys.argv[1:], ""]):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return ""
