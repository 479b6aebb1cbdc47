"""How a command ends that did not come to its end: every error becomes messages, reports and an exit code, here alone."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from inspect import signature
from itertools import pairwise
from typing import TYPE_CHECKING

import typer

from orchestrator.cli.command_table import COMMANDS
from orchestrator.errors import ExitCode, exit_code_of
from orchestrator.hints import Command, Hint

if TYPE_CHECKING:
    from orchestrator.events import Failure


def report(error: BaseException) -> int:
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
    return exit_code_of(failure.exit_code for failure in failures)


def _failures(error: BaseException) -> tuple[Failure, ...]:
    from orchestrator.cli.streams import tell
    from orchestrator.events import Failure
    from orchestrator.operations.assembly import redactor

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
        from orchestrator.cli.console import out_json

        out_json({"format": 1, "errors": [failure.document() for failure in failures]})
    if sys.argv[1:2] in (["apply"], ["plan"], ["rollback"], ["verify"]):
        from orchestrator.cli import machine, options

        known = {"plan": options.PlanOutput, "verify": options.Output}.get(sys.argv[1], options.StreamOutput)
        machine.refuse(failures, output if output in tuple(known) else "", _given("--junit"))


def _given(option: str) -> str:
    """Return the value of an option as the command line has it, read without knowing the command."""
    for word, following in pairwise([*sys.argv[1:], ""]):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return ""


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
        return Hint(Command(*filter(None, [_OTHER_WORDS.get(found[1])]), "--help"))
    if command == "orch apply" and "No such option: --dry-run" in message:
        return Hint(Command("plan"), " shows what apply would do")
    if command == "orch" and "No such option" in message:
        return Hint("options come after the command, as in: ", Command("apply", "--only", "order"))
    return f"{command} --help"


def _takes_only(command: str) -> bool:
    name = command.rpartition(" ")[2]
    return (
        name in COMMANDS and "only" in signature(import_module(f"orchestrator.cli.commands.{name}").command).parameters
    )
