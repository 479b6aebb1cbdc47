"""The plan: what a run will do, database by database. Made by a pure function, frozen, written as JSON."""

from __future__ import annotations

from typing import Any

from orchestrator.events import Failure
from orchestrator.model import Direction
from orchestrator.records import NamedTuple, dataclass

PLAN_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Step:
    """One migration in one direction. `checksum` is that of `path`; `statements` how many it has, `first` where to begin.

    `path` is '' for a down whose file is missing and which is skipped on purpose: only the record changes. `late`: it is
    older than a version that is applied already, and its running is permitted.
    """

    version: int
    name: str
    direction: Direction
    path: str
    checksum: str
    statements: int
    atomic: bool
    first: int = 0
    late: bool = False


@dataclass(frozen=True, slots=True)
class DatabasePlan:
    """What happens to one database. With a `failure` nothing does. `base` is the fingerprint of the history seen."""

    id: str
    engine: str
    name: str
    endpoint: str
    depends_on: tuple[str, ...] = ()
    base: str = ""
    create: bool = False
    extensions: tuple[str, ...] = ()
    version: int | None = None
    adopt: tuple[int, ...] = ()
    forget: tuple[int, ...] = ()
    version_row_stale: bool = False
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    failure: Failure | None = None

    @property
    def place(self) -> str:
        """Where the database is, as people read it: server and database."""
        return f"{self.endpoint}/{self.name}"

    @property
    def has_changes(self) -> bool:
        """Whether executing this would write anything."""
        return bool(self.create or self.steps or self.adopt or self.forget or self.version_row_stale or self.extensions)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run."""

    direction: Direction
    databases: tuple[DatabasePlan, ...]
    tool: str = ""
    format: int = PLAN_FORMAT

    @property
    def has_changes(self) -> bool:
        """Whether any database would be written to."""
        return any(database.has_changes for database in self.databases)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The reasons why some databases cannot be planned."""
        return tuple(database.failure for database in self.databases if database.failure)

    def document(self) -> dict[str, Any]:
        """Return the plan as plain data, its databases as an iterator that makes them one by one. It holds no secret."""
        databases = map(_plain, self.databases)
        return {"format": self.format, "tool": self.tool, "direction": self.direction.value, "databases": databases}


class Request(NamedTuple):
    """What is asked for: up to `to` (or all), or down by `steps` or to `to` (0: everything).

    `to_of` is the one database that `to` is meant for; the others go all the way.
    """

    direction: Direction = Direction.UP
    to: int | None = None
    to_of: str | None = None
    steps: int | None = None
    allow_missing_down: bool = False


def _plain(value: Any) -> Any:
    """Return plain data for a part of a plan."""
    if isinstance(value, Direction):
        return value.value
    if isinstance(value, Failure):
        return value.document()
    if isinstance(value, (DatabasePlan, Step)):
        return {name: _plain(getattr(value, name)) for name in value.__match_args__}
    if isinstance(value, tuple):
        return list(map(_plain, value))
    return value
