"""A picture of the live view: run the command on a terminal, choose one of the frames that it draws, and write it as SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text
from transcript import received_on_a_terminal

NEXT_FRAME = re.compile(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*")  # what rich sends before it draws the view again
STATES = ("done", "running", "failed", "blocked", "waiting")
SIGNS = ("✓", "▶", "✗", "⊘")  # of the first four


def frames(received: str) -> list[str]:
    """Return the frames of a live view, with colours, from all that a terminal has received.

    The first frame is left out: the plan stands above it. On a busy machine it may come late, and show all states.
    """
    return [frame.replace("\r\n", "\n") for frame in NEXT_FRAME.split(received)[1:] if " migrations  " in frame]


def states(frame: str) -> set[str]:
    """Return the states that a frame shows."""
    words = Text.from_ansi(frame).plain.split()
    return {state for state in STATES if state in words}


def svg(frame: str, title: str, columns: int) -> str:
    """Return a frame as an SVG document that looks like a terminal window."""
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(Text.from_ansi(frame.rstrip()))
    text = console.export_svg(title=title, unique_id="orch")
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def picture(arguments: Sequence[str], directory: Path, env: dict[str, str], columns: int = 100) -> tuple[str, set[str]]:
    """Run `orch ARGUMENTS`; return its most varied frame as SVG, and the states that it shows."""
    _, received = received_on_a_terminal(arguments, directory, env, columns=columns)
    best = max(frames(received), key=lambda frame: len(states(frame)))
    title = "orch " + " ".join(arguments)
    return svg(best, title, columns), states(best)
