"""The protocols of the modules that a `Dialect` names: what an engine offers beside its verbs.

Only type checkers import this module. A session or a connection is always one of the same engine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from orchestrator.model import Measured, Script, Size


class Squashing(Protocol):
    """How one file stands for many."""

    def replaces(self, text: str) -> tuple[str, int] | None:
        """Return which versions a file says that it replaces, as it says it, and the offset of that; None if none."""

    def head(self, versions: str) -> str:
        """Return what a file begins with that replaces these versions."""

    def squash(self, scripts: Sequence[Script], versions: str) -> str:
        """Return the text of one file that does what these do, one after the other.

        It says that it replaces `versions`, unless that is empty, as for a way down.
        """


class Tracing(Protocol):
    """Run a file and tell what each of its statements did."""

    def tables(self, session: Any) -> set[int]:
        """Return the numbers that the server gives to the tables that are there."""

    def trace(self, session: Any, watcher: Any, script: Script, old: Collection[int]) -> Iterator[Measured]:
        """Run a file as orch does, and yield what each statement did; the last one has an error if it failed.

        `old` are the tables that were there before the plan. Both sessions are on the same database.
        """


class Sizing(Protocol):
    """Ask how large tables are."""

    def sizes(self, session: Any) -> Mapping[str, Size]:
        """Return the size of each table by its name."""


class Dumping(Protocol):
    """Write down what a database holds."""

    def dump(self, session: Any) -> str:
        """Return the text of a file that makes it. UsageError if the program for that is missing."""


class Clients(Protocol):
    """How tests connect, as `orchestrator.testing.FreshDatabase` offers it."""

    def connect(self, dsn: str, **options: Any) -> Any:
        """Return a connection of the driver."""

    async def aconnect(self, dsn: str, **options: Any) -> tuple[Any, Callable[[], None] | None]:
        """Return an asynchronous connection, and what closes it without waiting; None where the caller closes it."""

    def url(self, id: str, dsn: str, driver: str) -> str:
        """Return the URL of a database as SQLAlchemy reads it, for a driver. UsageError for a driver that cannot."""
