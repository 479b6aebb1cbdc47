"""The database that a test gets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from orchestrator.engines import dialect


@dataclass(eq=False)
class FreshDatabase:
    """A migrated database of one's own. `dsn` holds the password; `name` is what it is called on the server."""

    id: str
    engine: str
    name: str
    dsn: str = field(repr=False)
    _closers: list[Callable[[], None]] = field(default_factory=list, repr=False)

    def connect(self, **options: Any) -> Any:
        """Return a new psycopg connection or, for MongoDB, a client whose `get_default_database()` it is.

        `options` go to the driver. What is still open when the database goes is closed.
        """
        connection = dialect(self.engine).clients.connect(self.dsn, **options)
        self._closers.append(connection.close)
        return connection

    async def aconnect(self, **options: Any) -> Any:
        """Return a new psycopg AsyncConnection or, for MongoDB, an AsyncMongoClient, as `connect` does.

        A connection that is still open when the database goes is closed; a client is for the caller to close.
        """
        connection, close = await dialect(self.engine).clients.aconnect(self.dsn, **options)
        if close:
            self._closers.append(close)
        return connection

    def url(self, driver: str = "") -> str:
        """Return the database's URL as SQLAlchemy reads it, for a driver: `psycopg`, `psycopg2`, `asyncpg`, `pg8000`, …

        Without a driver it begins with `postgresql://`, which asyncpg itself and libpq take too. For MongoDB it is the DSN.
        It holds the password. UsageError for a driver of another engine, or for settings that the driver cannot take.
        """
        return dialect(self.engine).clients.url(self.id, self.dsn, driver)

    def close(self) -> None:
        """Close what `connect` opened."""
        while self._closers:
            with suppress(Exception):  # a broken connection is closed too
                self._closers.pop()()
