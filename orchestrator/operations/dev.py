"""The embedded servers of a project, under .orch/ beside its manifest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from orchestrator import embedded
from orchestrator.embedded import Server
from orchestrator.errors import OrchError
from orchestrator.hints import Command, Hint
from orchestrator.manifest.load import find_manifest, load
from orchestrator.manifest.source import shown

__all__ = ["Server", "down", "environment", "status", "up"]


def _root(file: str | None) -> Path:
    """Return the directory of the embedded servers of a project; InvalidError if there is no manifest."""
    return find_manifest(file, os.environ, Path.cwd()).parent / ".orch"


def up(file: str | None) -> Sequence[Server]:
    """Start the servers that the databases of the manifest need, and return them. Their data is kept under .orch/.

    Raises InvalidError for a manifest that cannot be read, and what `embedded.up` raises.
    """
    manifest = load(find_manifest(file, os.environ, Path.cwd()), directories=False)
    return [*embedded.up(_root(file), {database.engine for database in manifest.databases}).values()]


def down(file: str | None, *, delete: bool = False) -> tuple[Sequence[Server], str]:
    """Stop the servers; with `delete`, delete their data too. Return those that ran, and what was deleted ('' if nothing).

    OrchError if a server does not end.
    """
    root = _root(file)
    stopped = embedded.down(root)
    if delete:
        embedded.remove(root)
    return stopped, shown(root) if delete else ""


def status(file: str | None) -> Sequence[Server]:
    """Return the servers that run. Starts and writes nothing."""
    return embedded.status(_root(file))


def environment(file: str | None) -> dict[str, str]:
    """Return the variables of the running servers that DSN templates read, passwords included; OrchError if none runs."""
    servers = status(file)
    if not servers:
        raise OrchError("no embedded server is running", hint=Hint(Command("dev", "up")))
    return embedded.environment(servers)
