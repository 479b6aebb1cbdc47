"""What a Python test connects to a fresh database by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

from orchestrator.engines.mysql.dsn import network_of, split
from orchestrator.errors import UsageError

_DRIVERS = ("pymysql", "mysqldb", "asyncmy", "aiomysql", "mariadbconnector", "mysqlconnector")


def connect(dsn: str, **options: Any) -> Any:
    """Return a new connection of PyMySQL; `options` go to it."""
    import pymysql

    parts = split(dsn)
    network = network_of(parts.network)
    where: dict[str, Any] = (
        {"unix_socket": network.socket}
        if network.socket
        else {"host": network.host.strip("[]"), "port": int(network.port), "ssl_disabled": True}
    )
    return pymysql.connect(
        **{
            "user": unquote(parts.user),
            "password": unquote(parts.password),
            "database": unquote(parts.database),
            "charset": "utf8mb4",
            **where,
            **options,
        }
    )


async def aconnect(dsn: str, **options: Any) -> tuple[Any, Callable[[], None]]:
    """Refuse: PyMySQL has no asyncio."""
    del dsn, options
    raise UsageError(
        "PyMySQL has no asyncio", hint="give `url(driver='asyncmy')` or `url(driver='aiomysql')` to SQLAlchemy"
    )


def url(id: str, dsn: str, driver: str) -> str:
    """Return the URL as SQLAlchemy reads it; UsageError for a driver of another engine."""
    if driver and driver not in _DRIVERS:
        raise UsageError(f"{id} is a MySQL database: {driver} cannot open it", hint=f"{', '.join(_DRIVERS)} can")
    parts = split(dsn)
    network = network_of(parts.network)
    login = f"{parts.user}:{parts.password}@" if parts.user else ""
    where = "localhost" if network.socket else f"{network.host}:{network.port}"
    query = "charset=utf8mb4" + (f"&unix_socket={quote(network.socket, safe='')}" if network.socket else "")
    return f"mysql+{driver or 'pymysql'}://{login}{where}/{parts.database}?{query}"
