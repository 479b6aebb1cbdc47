"""What was found of a database on its server, before there is a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.errors import (
    CreationRefusedError,
)
from orchestrator.events import Failure
from orchestrator.model import HISTORY_FORMAT, Database, History, LockHolder, Migration
from orchestrator.planning.attempts import digest
from orchestrator.planning.history import State, reconcile
from orchestrator.records import dataclass, field

_NOTHING = State()
_MAX_KINDS = 8  # of databases that are alike, for each directory of migrations


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found: a state, or why there is none, and where the database is (for people).

    `state` is what files and history say together, and `base` the fingerprint of the history that it was made from.
    `history` holds its attempts only where the survey was asked to keep them: of many databases these would fill the
    memory. `holder` has the migration lock; nobody looked, or there is none: None. `name` is that of the database on its
    server; `may_create`: it is created if it is missing.
    """

    endpoint: str
    history: History = field(default_factory=History)
    failure: Failure | None = None
    holder: LockHolder | None = None
    name: str = ""
    may_create: bool = True
    state: State = _NOTHING
    base: str = ""

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


class States:
    """Folds histories to states. Databases that are alike, as most of a fleet are, are folded once and share theirs."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[int, bool], list[tuple[Any, State, str]]] = {}

    def of(self, database: Database, migrations: Sequence[Migration], history: History) -> tuple[State, str]:
        """Return the state of a database and the fingerprint of its history.

        `migrations` must live as long as this object: the same tuple means the same files.
        """
        out_of_order = database.settings.out_of_order
        alike = _alike(history)
        kinds = self._kinds.setdefault((id(migrations), out_of_order), [])
        for known, state, base in kinds:
            if known == alike:
                return state, base
        state, base = reconcile(migrations, history, out_of_order=out_of_order), digest(history)
        # What is told of a problem, or in a note, names times and people: that belongs to one database alone.
        if len(kinds) < _MAX_KINDS and not (state.problems or state.notes or state.partial or state.failed):
            kinds.append((alike, state, base))
        return state, base


def _alike(history: History) -> tuple[Any, ...]:
    """Return what a state without problems and notes depends on: all but who did it, when and with what."""
    attempts = history.attempts
    newer = [attempt.format for attempt in attempts if attempt.format > HISTORY_FORMAT]
    return history._replace(attempts=(), place=""), newer, [one[:11] if one.done else one for one in attempts]


def running(holder: LockHolder) -> str:
    """Return what to know of a database that is half way through a file while somebody holds its lock."""
    if holder.running:
        return f"it is being migrated now, by {holder.description}"
    return f"its lock names {holder.description}: if that process is still running, the database is being migrated now"
