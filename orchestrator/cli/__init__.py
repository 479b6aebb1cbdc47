"""The command line. `main` is the entry point; everything heavy is imported by the command that needs it."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    if sys.argv[1:] in (["--version"], ["-V"]):  # asked for by scripts at every turn: no need to build the whole app
        from orchestrator import __version__

        print(f"orch {__version__}")  # noqa: T201 - this is the output
        _leave(0)
    from orchestrator.cli.app import run

    _leave(run())


def _leave(code: int) -> NoReturn:
    """Flush and end at once: pymongo's exit handler would wait half a second for threads that sleep."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # the reader went away, as `| head` does
        code = code or 141
    os._exit(code)
