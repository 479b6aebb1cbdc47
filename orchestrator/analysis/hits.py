"""What a rule says of one thing that a statement does, and what commits together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from orchestrator.analysis.facts import Constraint, Fact
from orchestrator.analysis.world import World
from orchestrator.records import dataclass, field

AE, SRE, SHARE = "ACCESS EXCLUSIVE", "SHARE ROW EXCLUSIVE", "SHARE"


class Hit(NamedTuple):
    """A rule that a fact breaks. `maybe`: what the table is like is not known, so it may be harmless."""

    code: str
    at: int
    what: str
    table: str = ""
    lock: str = ""
    maybe: bool = False


@dataclass
class Unit:
    """What commits together: a file, or a statement or block of one that runs piece by piece.

    `created_later` are the functions that the file creates, `made_later` its materialized views. `emptied` are the tables
    that it has emptied, and whether others cannot write to them since. `version` is the server's, 0 if it is not told.
    `values` are the enum values that it adds: whether using one is only perhaps an error, and the type.
    """

    statements: int = 1
    version: int = 0
    invalid: dict[tuple[str, str], Constraint] = field(default_factory=dict)
    values: dict[str, tuple[bool, str]] = field(default_factory=dict)
    made_types: set[str] = field(default_factory=set)
    created_later: frozenset[str] = frozenset()
    made_later: frozenset[str] = frozenset()
    emptied: dict[str, bool] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()


Rule = Callable[[World, Fact, Unit], Iterator[Hit]]
