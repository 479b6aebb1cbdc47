"""Turn any exception into messages, reports and an exit code."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import typer

from orchestrator.cli.command_table import COMMANDS
from orchestrator.cli.near_words import meant_command, meant_targets
from orchestrator.cli.parameters import taken
from orchestrator.errors import ExitCode, exit_code_of
from orchestrator.hints import Command, Hint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.events import Failure


def report(error: BaseException) -> int:
    """Tell people and machines why the command ended; return the exit code."""
    from orchestrator.cli.console import say_failure, warn

    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, typer.Exit):
        return error.exit_code
    if type(error).__name__ == "NoArgsIsHelpError":
        warn(str(error))
        return int(ExitCode.USAGE)
    if isinstance(error, BrokenPipeError):
        return 141
    failures = _failures(error)
    _report_to_machines(failures)
    if failures[0].kind == "interrupted":
        warn(failures[0].what)
    else:
        for failure in failures:
            say_failure(failure)
    return exit_code_of(failure.exit_code for failure in failures)


def _failures(error: BaseException) -> tuple[Failure, ...]:
    from orchestrator.cli.streams import tell
    from orchestrator.events import Failure
    from orchestrator.manifest.redact import redactor

    if isinstance(error, (KeyboardInterrupt, EOFError)) or type(error).__name__ == "Abort":
        return (Failure("interrupted", int(ExitCode.INTERRUPTED), "interrupted"),)
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # one of typer's own usage errors
        what, hint = _usage(error)
        return (Failure("usage", int(ExitCode.USAGE), what, hint=hint),)
    if os.environ.get("ORCH_DEBUG"):
        import traceback

        tell(redactor("".join(traceback.format_exception(error))))
    if isinstance(error, OSError):  # a disk that is full, a file that is not ours: no fault of orch
        what = ": ".join(filter(None, [redactor(str(error.filename or "")), error.strerror or str(error)]))
        return (Failure("failed", int(ExitCode.FAILED), what),)
    return Failure.all_of(error, redactor)


def _report_to_machines(failures: tuple[Failure, ...]) -> None:
    """Write what was asked for on stdout and in files, also when the command line itself was not understood."""
    from orchestrator.cli.streams import has_put

    output = _given("--output")
    if output != "jsonl" and has_put():  # a signal came after the document: a second one would spoil it
        output = ""
    if output == "json":
        from orchestrator.cli.console import out_json

        out_json({"format": 1, "errors": [failure.document() for failure in failures]})
    if sys.argv[1:2] in (["apply"], ["plan"], ["rollback"], ["rollout"], ["verify"]):
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


def _usage(error: Any) -> tuple[str, Hint]:
    """Return what is wrong with a call, and the call that was probably meant or the help.

    The option comes from typer's error, everything else from the call.
    """
    context = getattr(error, "ctx", None)
    names = context.command_path.split()[1:] if context else []
    words = sys.argv[1 + len(names) :]
    what = error.format_message()
    option = error.option_name if type(error).__name__ == "NoSuchOption" else ""
    if option and not names:
        return what, Hint("options come after the command, as in: ", Command("apply", "--only", "order"))
    if option == "--dry-run" and names == ["apply"]:
        return what, Hint(Command("plan"), " shows what apply would do")
    if not names and words and (meant := meant_command(words, COMMANDS)):
        return f"No such command {words[0]!r}.", meant  # without the command whose name looks alike
    if names == ["render"] and not option and (meant := meant_targets(words)):
        return what, meant
    if type(error).__name__ == "UsageError" and _takes_only(names) and (left := _left_over(context, words)):
        return what, Hint(Command(*names, *(word for name in left for word in ("--only", name))))
    return what, Hint(Command(*(names or [word for word in words[:1] if word in COMMANDS]), "--help"))


def _takes_only(names: Sequence[str]) -> bool:
    """Whether a command takes `--only NAME`."""
    if len(names) != 1 or names[0] not in COMMANDS:
        return False
    module = import_module(f"orchestrator.cli.commands.{names[0].replace('-', '_')}")
    return hasattr(module, "command") and "only" in taken(module.command)


def _left_over(context: Any, words: Sequence[str]) -> Sequence[str]:
    """Return the words of a call that are no option and no argument of its command."""
    left: Sequence[str] = context.command.make_context(context.info_name, list(words), resilient_parsing=True).args
    return left
