"""Connections to a fresh database for Python tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymongo import AsyncMongoClient, MongoClient

from orchestrator.errors import UsageError


def connect(dsn: str, **options: Any) -> Any:
    """Return a client whose `get_default_database()` it is; `options` go to the driver."""
    return MongoClient(dsn, **options)


async def aconnect(dsn: str, **options: Any) -> tuple[Any, Callable[[], None] | None]:
    """Return an AsyncMongoClient, which only its caller can close."""
    return AsyncMongoClient(dsn, **options), None


def url(id: str, dsn: str, driver: str) -> str:
    """Return the DSN; UsageError for a driver of SQLAlchemy."""
    if driver:
        raise UsageError(f"{id} is no PostgreSQL database: its URL is for no driver of SQLAlchemy")
    return dsn
