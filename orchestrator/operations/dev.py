"""The embedded servers of a project, under .orch/ beside its manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator import embedded
from orchestrator.embedded import Server
from orchestrator.engines import DIALECTS
from orchestrator.errors import OrchError
from orchestrator.hints import Command, Hint
from orchestrator.manifest.load import find_manifest, load
from orchestrator.manifest.source import shown

__all__ = ["Server", "down", "environment", "stale_variables", "status", "up"]


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


def stale_variables(file: str | None, env: Mapping[str, str]) -> Hint | None:
    """Return what to do where `env` still has the variables of an embedded server that was started earlier, else None.

    That is known by an address that only embedded servers have, in a project that has such servers.
    """
    root = _root(file)
    theirs = {
        name: env[name]
        for prefix in (engine.upper() for engine in DIALECTS)
        for name in (f"{prefix}_PORT", f"{prefix}_PASSWORD")
        if name in env and embedded.is_address(env.get(f"{prefix}_HOST", ""), env.get(f"{prefix}_PORT", ""))
    }
    if not theirs or not root.is_dir():
        return None
    now = embedded.environment(embedded.status(root))
    old = [name for name, value in theirs.items() if now.get(name) != value]
    if not old:
        return None
    what = (
        f"{' and '.join(old)} of this shell {'is' if len(old) == 1 else 'are'} of an embedded server that ran earlier: "
    )
    start = () if now else (Command("dev", "up"), " && ")
    return Hint(what, *start, 'eval "$(', Command("dev", "env"), ')"')
