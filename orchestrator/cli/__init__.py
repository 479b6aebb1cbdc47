"""The command line. `main` is the entry point; everything heavy is imported by the command that needs it."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    # These two answers need nothing of what the commands need.
    if sys.argv[1:] in (["--version"], ["-V"]):
        from orchestrator import __version__

        _leave(0, f"orch {__version__}\n")
    if sys.argv[1:] in (["--help"], ["-h"]):
        from orchestrator.cli.commands import HELP

        _leave(0, HELP)
    gc.set_threshold(50_000)  # modules, manifest and plan all stay: every 700 objects is too often to look for garbage
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command line is loaded: no traceback for an early Ctrl-C
    from orchestrator.cli.app import run

    _leave(run())


def _leave(code: int, text: str = "") -> NoReturn:
    """Write the text, flush and end at once: pymongo's exit handler would wait half a second for threads that sleep."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # the reader went away, as `| head` does
        code = code or 141
    os._exit(code)
