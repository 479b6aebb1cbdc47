"""Migration files: pairs of them, and what is in one. All are frozen."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from orchestrator.records import NamedTuple, dataclass


class Direction(Enum):
    """Which file of a migration runs."""

    UP = "up"
    DOWN = "down"


class File(NamedTuple):
    """A migration file: its path as shown to people, its normalised checksum (`sha256:…`), where to read it."""

    path: str
    location: Path
    checksum: str


class Migration(NamedTuple):
    """A versioned pair of files; either may be missing. `replaces` are ranges of versions that it stands for.

    `unwritten`: it is among the newest, and its up file is still exactly what `orch new` wrote.
    """

    version: int
    name: str
    up: File | None = None
    down: File | None = None
    replaces: tuple[tuple[int, int], ...] = ()
    unwritten: bool = False

    def file(self, direction: Direction) -> File | None:
        """Return the file that runs in this direction."""
        return self.up if direction is Direction.UP else self.down


@dataclass(frozen=True, slots=True)
class Statement:
    """The smallest thing that runs and is recorded as a whole.

    `source` is the text in the file, `body` what the engine sends (SQL text, or a MongoDB command), `offset` the
    position of `source` in the file in characters, `line` its first line, `atomic` whether it can commit together
    with its progress record. `repeatable`: after it was made, wholly or in part, it can be made again with the same end.
    `block`: it stood between BEGIN and COMMIT in the file. `settings` is what the file has SET above it (and its
    temporary tables), where it runs statement by statement: a later run may begin here, in a session of its own.
    `opening` is what must come before it in its transaction, such as the isolation level of its block.
    """

    source: str
    body: Any
    offset: int
    line: int
    atomic: bool
    settings: str = ""
    block: bool = False
    opening: str = ""
    repeatable: bool = False


class Checks(NamedTuple):
    """The questions of a file about the database: those of `require` before it runs, and those of `ensure` after it.

    The `body` of each is what the engine asks. The answer must be one row whose first column is true.
    """

    before: tuple[Statement, ...] = ()
    after: tuple[Statement, ...] = ()


NO_CHECKS = Checks()


class Directive(NamedTuple):
    """A comment above the first statement that speaks to orch, `-- orch: NAME VALUE`, and the offsets of its parts.

    `equals`: a `=` stands between name and value. `start` and `end` are those of the comment.
    """

    name: str
    value: str
    start: int
    end: int
    name_at: int
    value_at: int
    equals: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """A parsed file. `atomic`: all of it commits in one transaction, with its record. `notes`: what to know of it.

    `template` is the text of the file before variables were put into it, where that is not `text`.
    """

    file: File
    text: str
    statements: Sequence[Statement]
    atomic: bool
    lock_timeout: float | None = None
    lock_try: float | None = None
    statement_timeout: float | None = None
    notes: tuple[str, ...] = ()
    checks: Checks = NO_CHECKS
    template: str = ""
    directives: tuple[Directive, ...] = ()
