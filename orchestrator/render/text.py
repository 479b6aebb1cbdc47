"""The header that every rendered file begins with."""

from __future__ import annotations

import shlex

from orchestrator.manifest.load import FILE_NAME
from orchestrator.model import Manifest

MADE_BY = "# Made by orch from"


def header(target: str, manifest: Manifest, comment: str = "#", *, image: str = "") -> str:
    """Return the comment that says where a file comes from; a file with it may be written over, and removed.

    `image` is the one that the command line named: the same command makes the same file.
    """
    name = manifest.path.name
    file = "" if name == FILE_NAME else f" -f {shlex.quote(name)}"
    told = f" --image {shlex.quote(image)}" if image else ""
    return f"{comment}{MADE_BY[1:]} {name}: do not edit, run: orch render {target}{file}{told}\n"


def told_image(first_line: str) -> str:
    """Return the image that the header of a file names, or nothing."""
    _, _, command = first_line.partition(" --image ")
    try:
        return next(iter(shlex.split(command)), "")
    except ValueError:  # edited by hand
        return ""
