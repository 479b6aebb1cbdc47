"""Directories for embedded servers in tests, and their end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator import embedded
from orchestrator.embedded import process


@contextmanager
def passable_place() -> Iterator[Path]:
    """A short directory that everybody can pass through, unlike tmp_path."""
    place = Path(tempfile.mkdtemp(prefix="orch-t-"))
    place.chmod(0o711)
    yield place
    shutil.rmtree(place)


def clean(root: Path) -> None:
    """Remove a root; nothing of it may run afterwards."""
    if root.exists():
        embedded.remove(root)
    assert not [line for _, line in process.command_lines() if bytes(root.resolve()) + b"/" in line]
