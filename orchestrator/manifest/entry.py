"""Entries of a manifest whose names are known: servers and databases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from orchestrator.manifest.fleet import Member, used
from orchestrator.manifest.source import Steps
from orchestrator.model import Fleet, Settings
from orchestrator.records import NamedTuple, dataclass


class Tell(Protocol):
    """Takes note of an error: `steps` lead to its place in the manifest."""

    def __call__(self, steps: Steps, what: str, hint: str = "", detail: str = "") -> None:
        """Take note of one error; `hint` says what to do, `detail` has further facts."""


class Server(NamedTuple):
    """A declared server, with the settings that its databases inherit."""

    name: str
    engine: str
    dsn: str
    settings: Settings
    maintenance_database: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of `databases` whose identity is known."""

    index: int
    id: str
    engine: str
    name: str
    values: Mapping[str, Any]
    member: Member | None = None
    fleet: Fleet | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that may stand in its templates."""
        if self.member is None:
            return ()
        return tuple(self.member.columns) or used(self.values)

    @property
    def steps(self) -> Steps:
        """Where the entry stands in the manifest."""
        return ("databases", self.index)
