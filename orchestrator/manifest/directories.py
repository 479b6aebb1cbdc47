"""Where the migrations of a declared database are, and whether that directory is there."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.hints import NAME, Command, Hint
from orchestrator.manifest.entry import Entry, Tell
from orchestrator.manifest.source import shown


def directory_of(entry: Entry, base: Path, error: Tell, *, must_exist: bool) -> Path:
    """Return the directory of an entry's migrations: the one that it names, or migrations/ID/schema, below `base`.

    With `must_exist`, `error` is told of one that is missing or cannot be read.
    """
    steps, given = entry.steps, entry.values.get("migrations")
    if given is None and "/" in entry.name:
        error(steps, f"database {entry.name!r}: its name cannot be a directory's", hint="give it 'migrations'")
        return base
    directory = base / (given or f"migrations/{entry.id}/schema")
    if must_exist and (state := _directory_problem(directory)):
        from shlex import quote

        make = Hint(f"mkdir -p {quote(shown(directory))}, or: ", Command("new", entry.id, NAME))
        error(
            [*steps, "migrations"] if given else steps,
            f"database {entry.name!r}: its migrations directory {shown(directory)} {state}",
            hint="name the directory that holds the files" if os.path.lexists(directory) else make,
        )
    return directory


def _directory_problem(path: Path) -> str:
    try:
        if path.is_dir():
            return ""
        return "is not a directory" if path.exists() else "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
