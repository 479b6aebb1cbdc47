"""Files as an earlier stage has read them. Nothing in `planning/` reads a file."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.errors import OrchError
from orchestrator.model import File, Script

Scripts = Mapping[tuple[str, File], Script | OrchError]
"""By the id of the database and the file: its statements, or why it cannot be read."""


def script_of(scripts: Scripts, id: str, file: File) -> Script:
    """Return the statements of a file of this database; raise the error of one that cannot be read."""
    found = scripts[id, file]
    if isinstance(found, OrchError):
        raise found
    return found
