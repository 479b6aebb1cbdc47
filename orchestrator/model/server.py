"""What a server tells: schemas, locks, sizes of tables, and what a statement did. All are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from orchestrator.records import NamedTuple


class SchemaObject(NamedTuple):
    """One thing in a schema: `table orders`, `column orders.note` of `orders`. What it belongs to goes with it."""

    kind: str
    name: str
    of: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


SchemaSnapshot = Mapping[SchemaObject, str]
"""The schema of a database, without its data: every thing in it, and how that is defined."""


class Vitals(NamedTuple):
    """What `orch doctor` asks a server beside its history. `clock` is its time, None if it has none of its own.

    `problems` are sentences about what stops a migration: missing rights, a pooler that mixes sessions. `notes` are about
    what stops something else. `role` is what the server is among others: `primary`, `standby`, `primary of rs0`.
    """

    clock: datetime | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    role: str = ""


class Blocking(NamedTuple):
    """Which sessions hold a lock that another session waits for.

    `who` names them in a few words, `detail` has a line for each with what it does, `hint` is what a person can do.
    """

    who: str
    detail: str
    hint: str
    since: datetime | None = None
    """When the oldest of their transactions began."""


class Activity(NamedTuple):
    """What a server says of a session at work: what it does, how far it is (`total` is 0 if unknown), what it waits for."""

    what: str = ""
    done: int = 0
    total: int = 0
    blocking: Blocking | None = None


class LockHolder(NamedTuple):
    """Who holds a migration lock, as far as the server tells. `key` stays the same as long as they hold it.

    `alive`: they are there for certain. `leased`: they said so within the last seconds, and nobody can tell more.
    """

    description: str
    since: datetime | None = None
    key: str = ""
    alive: bool = False
    leased: bool = False

    @property
    def running(self) -> bool:
        """Whether what is half done is being done now, as far as can be told."""
        return self.alive or self.leased


class Size(NamedTuple):
    """How large a table or collection is, with its indexes, and how many of its rows are written a second."""

    rows: int
    bytes: int
    writes: float = 0.0


class Measured(NamedTuple):
    """What one statement did: new locks on tables as (table, mode), tables that it rewrote, tables that it read.

    `old` are those of these tables that were there before the plan, under the name that they have now.
    `polled`: it commits by itself, so its locks were seen by looking again and again, and what it read is not known.
    `error` is why it failed; what it did is not known then.
    """

    statement: int
    locks: tuple[tuple[str, str], ...] = ()
    rewritten: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    seconds: float = 0.0
    polled: bool = False
    old: frozenset[str] = frozenset()
    error: str = ""
