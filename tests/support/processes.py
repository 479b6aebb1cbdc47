"""Wait for processes, and for what they do on a server."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

import psycopg

from orchestrator.embedded import Server


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def end(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str, str]:
    """Wait for a process; return its exit code and output."""
    out, err = process.communicate(timeout=seconds)
    assert "Traceback" not in out + err, err
    return process.returncode, out, err


def sleepers(server: Server, mark: str) -> list[tuple[Any, ...]]:
    """Return the running statements on the server that hold this text."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE %s"
        return connection.execute(query, (f"%{mark}%",)).fetchall()
