"""Connections to a fresh database for Python tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from orchestrator.engines.postgres.sqlalchemy_url import sqlalchemy_url


def connect(dsn: str, **options: Any) -> Any:
    """Return a new psycopg connection; `options` go to the driver."""
    return psycopg.connect(dsn, **options)


async def aconnect(dsn: str, **options: Any) -> tuple[Any, Callable[[], None]]:
    """Return a new psycopg AsyncConnection, and what closes it without waiting."""
    connection = await psycopg.AsyncConnection.connect(dsn, **options)
    return connection, connection.pgconn.finish


def url(id: str, dsn: str, driver: str) -> str:
    """Return the DSN as SQLAlchemy reads it for a driver; UsageError if that cannot take all settings."""
    del id
    return sqlalchemy_url(dsn, driver)
