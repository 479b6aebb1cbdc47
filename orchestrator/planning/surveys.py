"""What was found of a database on its server, before there is a plan."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.errors import (
    CreationRefusedError,
)
from orchestrator.events import Failure
from orchestrator.model import History, LockHolder


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found: a history, or why there is none, and where the database is (for people).

    `holder` has the migration lock; nobody looked, or there is none: None. `name` is that of the database on its
    server; `may_create`: it is created if it is missing.
    """

    endpoint: str
    history: History = field(default_factory=History)
    failure: Failure | None = None
    holder: LockHolder | None = None
    name: str = ""
    may_create: bool = True

    @property
    def place(self) -> str:
        """Where the database is, as people read it: server and database."""
        return f"{self.endpoint}/{self.name}" if self.name else self.endpoint

    def refused(self, id: str) -> CreationRefusedError | None:
        """Return the error of a database that is missing and must not be created."""
        if self.history.exists or self.may_create:
            return None
        return CreationRefusedError(
            f"{id}: database '{self.name}' does not exist on {self.endpoint}, and it must not be created",
            hint="if it was renamed or moved, correct its name or DSN in the manifest; "
            "if it is new, create it yourself, or allow it: create: if_missing in the manifest, without --no-create",
        )


def running(holder: LockHolder) -> str:
    """Return what to know of a database that is half way through a file while somebody holds its lock."""
    if holder.running:
        return f"it is being migrated now, by {holder.description}"
    return f"its lock names {holder.description}: if that process is still running, the database is being migrated now"
