"""The command tree, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from orchestrator.cli import options
from orchestrator.cli.commands import COMMANDS, HELP


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
    signal.signal(signal.SIGINT, _interrupted)
    signal.signal(signal.SIGTERM, _interrupted)
    if os.environ.get("_ORCH_COMPLETE") == "complete_bash":
        _take_label_of_bash()
    try:
        result = app(standalone_mode=False)
        return int(result or 0)
    except BaseException as error:  # noqa: BLE001 - this is the boundary to the user
        return _report(error)


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


def _interrupted(_signal: int, _frame: object) -> None:
    """A signal ends the command at once: the next run finds out what is true. `apply` and `rollback` stop in order."""
    sys.stderr.write("interrupted\n")
    sys.stderr.flush()
    os._exit(130)


def _report(error: BaseException) -> int:
    from orchestrator.assembly import redactor
    from orchestrator.cli.console import out_json, say_failure
    from orchestrator.errors import ExitCode
    from orchestrator.events import Failure

    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, typer.Exit):
        return error.exit_code
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(str(error), err=True)
        return int(ExitCode.USAGE)
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # one of typer's own usage errors
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "orch"
        say_failure(Failure("usage", 2, error.format_message(), hint=f"{command} --help"))
        return int(ExitCode.USAGE)
    if isinstance(error, (KeyboardInterrupt, EOFError)) or type(error).__name__ == "Abort":
        return int(ExitCode.INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        return 141
    if os.environ.get("ORCH_DEBUG"):
        import traceback

        sys.stderr.write(redactor("".join(traceback.format_exception(error))))
    failures = Failure.all_of(error, redactor)
    if "--output=json" in sys.argv or ("--output", "json") in pairwise(sys.argv):
        from dataclasses import asdict

        out_json({"format": 1, "errors": [asdict(failure) for failure in failures]})
    if reports := sys.modules.get("orchestrator.cli.machine"):
        reports.refuse(failures)
    for failure in failures:
        say_failure(failure)
    return failures[0].exit_code
