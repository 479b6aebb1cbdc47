"""Run one command, handle its signals and return its exit code."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from types import FrameType
from typing import Any

from orchestrator.cli import options
from orchestrator.cli.parameters import read
from orchestrator.errors import ExitCode
from orchestrator.patterns import compiled_when_used

EVERYDAY = ("apply", "plan", "status", "validate", "wait")
"""The commands whose plain calls are read without typer, because they are run so often."""

_came: list[int] = []
"""The signals that this run has received."""


def run() -> int:
    """Run the command line and return its exit code. Errors become messages; ORCH_DEBUG=1 adds the traceback."""
    _came.clear()
    _on_signals(_interrupted)
    if os.environ.get("_ORCH_COMPLETE") == "complete_bash":
        _take_label_of_bash()
    began = time.monotonic()
    try:
        result = _call()
        if _came:  # typer turns the exception into an exit code
            raise KeyboardInterrupt  # noqa: TRY301 - reported below, like any error
        code = int(result or 0)
        if os.environ.get(options.VERBOSE):
            _tell_more(time.monotonic() - began)
    except BaseException as error:  # noqa: BLE001 - the outermost handler
        from orchestrator.cli.ends import report

        _on_signals(_at_once)
        # Python makes other errors of an interrupt, such as a RuntimeError where a class is being made.
        code = report(KeyboardInterrupt() if _came else error)
    if signal.getsignal(signal.SIGINT) is _interrupted:  # otherwise the command handles signals itself
        _on_signals(_at_once)
    return code


def _call() -> Any:
    """Call the command that the command line names."""
    name, *words = sys.argv[1:] or [""]
    if name in EVERYDAY and not any(variable.endswith("_COMPLETE") for variable in os.environ):
        command = import_module(f"orchestrator.cli.commands.{name}").command
        if (arguments := read(command, words)) is not None:
            with compiled_when_used():  # PyYAML compiles 12 patterns, 8 ms; with libyaml it uses 3 of them
                import yaml  # noqa: F401
            return command(**arguments)
    from orchestrator.cli.app import app

    if name == "lint":
        sys.argv[2:] = _with_base(words)
    return app(standalone_mode=False, prog_name="orch")  # also as python -m orchestrator


def _with_base(words: list[str]) -> list[str]:
    """`orch lint --changed` alone means HEAD. Of an option whose value can be left out, typer knows nothing."""
    alone = [word == "--changed" and after.startswith("-") for word, after in pairwise([*words, "--"])]
    return ["--changed=HEAD" if without else word for word, without in zip(words, alone, strict=True)]


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
