"""Show a finished result: on stdout in the format that was asked for, or in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.cli.console import out, out_json, pasteable
from orchestrator.cli.streams import put
from orchestrator.errors import UsageError
from orchestrator.views.formats import Exact, view


def show(what: str, output: str, *result: Any, finish: Callable[[str], str] = pasteable, **choices: Any) -> None:
    """Write what the view of this format makes of a result; `finish` is for texts that people read alone."""
    shown = view(what, output)(*result, **choices)
    if isinstance(shown, Exact):
        put(shown)
    elif isinstance(shown, str):
        out(finish(shown))
    elif output == "github":
        from orchestrator.cli.machine import put_commands

        put_commands(shown)
    else:
        out_json(shown)


def write(path: str, text: str) -> None:
    """Write a text into the file that an option names; UsageError if it cannot be written."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
