"""The command tree, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from orchestrator.cli import (
    apply,
    baseline,
    dev,
    graph,
    history,
    plan,
    repair,
    rollback,
    schema,
    status,
    unlock,
    validate,
)

app = typer.Typer(
    name="orch",
    help="One manifest for every database: create what is missing and migrate everything, in order.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 changes pending (--exit-code), 4 manifest or files invalid, "
    "5 history conflict, 6 lock not obtained, 7 cannot connect or not permitted, 130 interrupted.",
)

for module in (apply, plan, status, history, validate, graph, rollback, repair, baseline, unlock, schema):
    app.command(name=module.__name__.rpartition(".")[2], no_args_is_help=False)(module.command)
app.add_typer(dev.app, name="dev")


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
    try:
        result = app(standalone_mode=False)
        return int(result or 0)
    except BaseException as error:  # noqa: BLE001 - this is the boundary to the user
        return _report(error)


def _interrupted(_signal: int, _frame: object) -> None:
    """Before anything is written a signal just ends the command; `apply` and `rollback` put in their own handler."""
    sys.stderr.write("interrupted: nothing was changed\n")
    sys.stderr.flush()
    os._exit(130)


def _report(error: BaseException) -> int:
    from orchestrator.cli.assembly import redactor
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
    if any(argument in ("json", "--output=json") for argument in sys.argv[1:]):
        from dataclasses import asdict

        out_json({"format": 1, "errors": [asdict(failure) for failure in failures]})
    for failure in failures:
        say_failure(failure)
    return failures[0].exit_code
