"""Records for the content of a PostgreSQL statement: object, columns, constraints, action."""

from __future__ import annotations

from orchestrator.analysis.types import Type
from orchestrator.records import dataclass


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint of a table; `kind` is check, not null, foreign key, unique, primary key or exclude.

    `referred` are the columns to which a foreign key refers, where they are named. `valid`: old rows are checked, or were.
    `not_null_of` are the columns of which a CHECK says that they are not null, `mentions` all words of a CHECK, in which
    columns are as they are named.
    """

    kind: str
    name: str = ""
    columns: tuple[str, ...] = ()
    references: str = ""
    referred: tuple[str, ...] = ()
    index: str = ""
    valid: bool = True
    enforced: bool = True
    not_null_of: frozenset[str] = frozenset()
    mentions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is declared. `generated` is stored, virtual or ''; `default` the words of its default."""

    name: str
    type: Type
    default: tuple[str, ...] = ()
    not_null: bool = False
    identity: bool = False
    generated: str = ""
    serial: bool = False
    constraints: tuple[Constraint, ...] = ()


@dataclass(slots=True)
class Fact:
    """One thing that a statement does. `what` names it, `at` is its offset; the rest depends on `what`.

    `part` is the number of its statement in a block. `flags` are words such as `if exists`, `cascade`, `only`, `temp`.
    `body` is that of a function.
    """

    what: str
    at: int
    table: str = ""
    name: str = ""
    flags: frozenset[str] = frozenset()
    column: Column | None = None
    columns: tuple[Column, ...] = ()
    constraint: Constraint | None = None
    constraints: tuple[Constraint, ...] = ()
    type: Type | None = None
    others: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    text: str = ""
    part: int = 0
    body: str = ""
