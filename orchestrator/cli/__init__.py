"""The command line. `main` is the entry point. Each command imports its heavy modules itself."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from orchestrator.cli import streams

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    streams.open_closed()
    if sys.argv[1:2] == ["help"]:
        sys.argv[1:] = [*sys.argv[2:], "--help"]
    # These two answers need none of the imports of the commands.
    if sys.argv[1:] in (["--version"], ["-V"], ["version"]):
        from orchestrator import __version__

        streams.put(f"orch {__version__}\n")
        _leave(0)
    if sys.argv[1:] in (["--help"], ["-h"]):
        from orchestrator.cli.command_table import HELP

        streams.put(HELP)
        _leave(0)
    gc.set_threshold(
        200_000
    )  # modules, manifest and plan stay until the end: collecting garbage among them wastes time
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command line is loaded: no traceback for an early Ctrl-C
    sys.unraisablehook = _unraisable
    from orchestrator.cli.run import run

    try:
        code = run()
    except KeyboardInterrupt:  # a signal arrived while an error was being reported
        code = 130
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Flush and end at once: pymongo's exit handler would wait half a second for threads that sleep."""
    os._exit(streams.finish(code))


def _unraisable(fault: UnraisableHookArgs) -> None:
    """Exit on a signal that arrives inside a destructor: Python would only print the exception and continue."""
    if fault.exc_type is KeyboardInterrupt:
        os._exit(130)
    sys.__unraisablehook__(fault)
