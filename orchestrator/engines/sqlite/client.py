"""Connections to a fresh database for Python tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from orchestrator.engines.sqlite.dsn import path_of
from orchestrator.errors import UsageError


def connect(dsn: str, **options: Any) -> Any:
    """Return a new connection of Python's sqlite3; `options` go to it."""
    return sqlite3.connect(path_of(dsn), **options)


async def aconnect(dsn: str, **options: Any) -> tuple[Any, Callable[[], None]]:
    """Return the same: Python's own driver has no other."""
    connection = connect(dsn, **options)
    return connection, connection.close


def url(id: str, dsn: str, driver: str) -> str:
    """Return the URL as SQLAlchemy reads it; UsageError for a driver of another engine."""
    if driver not in ("", "pysqlite", "aiosqlite"):
        raise UsageError(f"{id} is an SQLite database: {driver} cannot open it", hint="pysqlite or aiosqlite can")
    return f"sqlite{'+' if driver else ''}{driver}:///{path_of(dsn)}"
