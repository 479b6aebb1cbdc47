"""How `orch shell` calls sqlite3."""

from __future__ import annotations

from orchestrator.engines.dialect import ShellCall
from orchestrator.engines.sqlite.dsn import path_of


def shell(url: str) -> ShellCall:
    """Return the call of sqlite3 for a DSN. A file that is not there is not created."""
    path = path_of(url).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return ShellCall("sqlite3", (f"file:{path}?mode=rw",), {}, "sqlite3")
