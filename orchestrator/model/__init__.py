"""The records that all packages share: declared databases, files, history and attempts. All are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.secret import Secret

HISTORY_FORMAT = 1
"""The version of the rows that this release writes; rows of a later one are read, never written over."""


class Direction(Enum):
    """Which file of a migration runs."""

    UP = "up"
    DOWN = "down"


class Origin(Enum):
    """How a attempt came to be."""

    APPLIED = "applied"
    ADOPTED = "adopted"
    BASELINE = "baseline"
    MARKED = "marked"
    MOVED = "moved"
    ACKNOWLEDGED = "acknowledged"


# ---------------------------------------------------------------- what is declared


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; line and column count from 1."""

    path: str
    line: int = 0
    column: int = 0

    @staticmethod
    def at(path: str, text: str, offset: int) -> Mark:
        """Return the place of the character at this offset of a file's text."""
        return Mark(path, text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))

    def __str__(self) -> str:
        return ":".join([self.path, *(str(n) for n in (self.line, self.column) if n)])


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """What CREATE DATABASE and a database's first minutes need; `Dialect.create_options` says which an engine has."""

    owner: str | None = None
    encoding: str | None = None
    locale: str | None = None
    template: str | None = None
    extensions: tuple[str, ...] = ()
    connection_limit: int | None = None
    maintenance_database: str | None = None
    collation: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """How migrations run; times in seconds. 0 means no limit, None the one that the server sets.

    `lock_timeout` is how long a file may wait for the locks of tables, all its tries together, and `lock_try` how long
    one of these tries may: so long do the readers of a table wait behind a statement that waits itself. Without `create`
    a missing database is an error. With `keep_text` the history keeps the text of what ran. `drift` is off, warn or
    refuse: what happens where somebody changed the schema since the last apply; `drift_ignore` are globs of schema
    objects that do not count.
    """

    lock_timeout: float | None = 10.0
    lock_try: float | None = 1.0
    statement_timeout: float | None = None
    out_of_order: bool = False
    create: bool = True
    keep_text: bool = True
    drift: str = "off"
    drift_ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """What `orch verify` may find in a version without failing; an empty `finding` stands for whatever it finds."""

    version: int
    finding: str = ""


@dataclass(frozen=True, slots=True)
class Lint:
    """How `orch lint` judges a database: levels by code where they are not the default, the server's major version."""

    levels: Mapping[str, str] = field(default_factory=dict)
    server_version: int | None = None


@dataclass(frozen=True, slots=True)
class External:
    """A database of another manifest that must be migrated first. `manifest` is its path, as written, from this manifest."""

    manifest: str
    database: str
    mark: Mark = Mark("databases.yaml")


@dataclass(frozen=True, slots=True)
class Database:
    """One database of the estate. `dsn` is a template, never a resolved value; somebody may still write a password there.

    `database` is the template of its name on the server, where that is not `name`.
    `risks` says of each of `analysis.rules.RISKS` whether a plan may hold it: allow, ask or refuse, where it is not the default.
    """

    id: str
    engine: str
    name: str
    dsn: str = field(repr=False)
    directory: Path
    database: str = ""
    server: str | None = None
    depends_on: tuple[str, ...] = ()
    external: tuple[External, ...] = ()
    labels: tuple[str, ...] = ()
    create: CreateOptions = CreateOptions()
    settings: Settings = Settings()
    accepted: tuple[Accepted, ...] = ()
    lint: Lint = Lint()
    risks: Mapping[str, str] = field(default_factory=dict)
    mark: Mark = Mark("databases.yaml")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole of `databases.yaml`. `render` is the section of that name, as it stands.

    `dependents` are paths of manifests whose databases may depend on databases of this one.
    """

    path: Path
    databases: tuple[Database, ...]
    history_name: str = "orch_history"
    render: Mapping[str, Any] = field(default_factory=dict)
    dependents: tuple[str, ...] = ()

    def database(self, id: str) -> Database:
        """Return the database with this full id; KeyError if there is none."""
        for database in self.databases:
            if database.id == id:
                return database
        raise KeyError(id)


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """Where a database is, resolved.

    `url` is what the driver gets (no `x-` parameters in it), `parameters` are golang-migrate's `x-…` ones, `endpoint` is
    `host:port` for people. `server_key` is an opaque id that is the same for all databases of one server and login.
    `maintenance_database` is where a missing database is asked for and created from, if that is told. `scratch`: it is
    made to be copied or dropped, so its records name no database that they belong to.
    """

    database_id: str
    engine: str
    url: Secret
    database: str
    endpoint: str
    server_key: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    history_name: str = "orch_history"
    maintenance_database: str | None = None
    scratch: bool = False

    def __repr__(self) -> str:
        return f"Target({self.database_id} at {self.endpoint})"


# ---------------------------------------------------------------- what is on disk


class File(NamedTuple):
    """A migration file: its path as shown to people, its normalised checksum (`sha256:…`), where to read it."""

    path: str
    location: Path
    checksum: str


class Migration(NamedTuple):
    """A versioned pair of files; either may be missing. `replaces` are ranges of versions that it stands for."""

    version: int
    name: str
    up: File | None = None
    down: File | None = None
    replaces: tuple[tuple[int, int], ...] = ()

    def file(self, direction: Direction) -> File | None:
        """Return the file that runs in this direction."""
        return self.up if direction is Direction.UP else self.down


@dataclass(frozen=True, slots=True)
class Statement:
    """The smallest thing that runs and is recorded as a whole.

    `source` is the text in the file, `body` what the engine sends (SQL text, or a MongoDB command), `offset` the
    position of `source` in the file in characters, `line` its first line, `atomic` whether it can commit together
    with its progress record. `repeatable`: after it was made, wholly or in part, it can be made again with the same end.
    `block`: it stood between BEGIN and COMMIT in the file. `settings` is what the file has SET
    above it, where it runs statement by statement: a later run may begin here, in a session of its own. `opening` is what
    must come before it in its transaction, such as the isolation level of its block.
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


@dataclass(frozen=True, slots=True)
class Script:
    """A parsed file. `atomic`: all of it commits in one transaction, with its record. `notes`: what to know of it."""

    file: File
    text: str
    statements: tuple[Statement, ...]
    atomic: bool
    lock_timeout: float | None = None
    lock_try: float | None = None
    statement_timeout: float | None = None
    notes: tuple[str, ...] = ()
    checks: Checks = NO_CHECKS


class Size(NamedTuple):
    """How large a table or collection is, with its indexes, and how many of its rows are written a second."""

    rows: int
    bytes: int
    writes: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What one statement did: new locks on tables as (table, mode), tables that it wrote anew, tables that it read.

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


# ---------------------------------------------------------------- what a database remembers


class VersionRow(NamedTuple):
    """golang-migrate's single row. `version` is None when the table is there and empty (after the last down)."""

    version: int | None
    dirty: bool = False


class Attempt(NamedTuple):
    """The record of one attempt to take a migration in one direction; (version, attempt) is its key.

    `applied` of `total` statements are known to be done; `in_flight` says that one more was begun and its end was
    not recorded. `prefix` is the checksum of the statements done, so that a changed prefix is noticed. `role` is the login
    on the server and `host` where orch ran; who writes the record adds both. `texts` is what is to be kept of both files,
    or '': it is written, and is not read with the history.
    """

    version: int
    number: int
    name: str
    direction: Direction
    checksum: str
    applied: int = 0
    total: int = 0
    in_flight: bool = False
    prefix: str = ""
    done: bool = False
    origin: Origin = Origin.APPLIED
    started_at: datetime | None = None
    finished_at: datetime | None = None
    seconds: float | None = None
    actor: str = ""
    role: str = ""
    host: str = ""
    run_id: str = ""
    tool: str = ""
    error: str = ""
    reason: str = ""
    format: int = HISTORY_FORMAT
    texts: str = ""


_DIRECTIONS = {direction.value: direction for direction in Direction}
_ORIGINS = {origin.value: origin for origin in Origin}


def read_attempt(row: Mapping[str, Any]) -> Attempt:
    """Read a stored attempt of this or another release. Numbers may be of any integer type, times ISO texts.

    What this release does not know is passed over; a direction that it does not know makes the row one of a later format.
    """
    direction, origin = _DIRECTIONS.get(row["direction"]), _ORIGINS.get(row["origin"])
    return Attempt(
        version=int(row["version"]),
        number=int(row["attempt"]),
        name=row["name"],
        direction=direction or Direction.UP,
        checksum=row["checksum"],
        applied=int(row["applied"]),
        total=int(row["total"]),
        in_flight=row["in_flight"],
        prefix=row["prefix"],
        done=row["done"],
        origin=origin or Origin.APPLIED,
        started_at=_time(row.get("started_at")),
        finished_at=_time(row.get("finished_at")),
        seconds=_seconds(row.get("seconds")),
        actor=row.get("actor", ""),
        role=row.get("role", ""),
        host=row.get("host", ""),
        run_id=row.get("run_id", ""),
        tool=row.get("tool", ""),
        error=row.get("error", ""),
        reason=row.get("reason", ""),
        format=int(row.get("format", HISTORY_FORMAT)) if direction else HISTORY_FORMAT + 1,
    )


def _time(value: datetime | str | None) -> datetime | None:
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:  # PostgreSQL's infinity, and years that Python does not have: only people read these times
        return None


def _seconds(value: Any) -> float | None:
    """Return a duration; None for NaN and infinity, which PostgreSQL's JSON has as texts."""
    return float(value) if isinstance(value, (int, float)) and isfinite(value) else None


class ReadOnly(NamedTuple):
    """Why a database takes no writes, and what to do where it should."""

    what: str
    hint: str


class History(NamedTuple):
    """What one database says of itself. `version table` is None when golang-migrate's table is not there at all.

    `unrecorded` is how many tables or collections there are where neither history nor version table is. `emptied`: the history
    is there and holds no rows, which no run leaves behind. `rows` are those of golang-migrate's table if they contradict
    each other; it has one row, or none. `read_only`: nothing can be written there. `elsewhere` is a sentence of where the
    rows were written, if that is not this database, and `place` is the same for two targets that are one version table of
    one database.
    """

    exists: bool = True
    store: bool = False
    version_row: VersionRow | None = None
    attempts: tuple[Attempt, ...] = ()
    extensions: tuple[str, ...] = ()
    unrecorded: int = 0
    emptied: bool = False
    rows: tuple[VersionRow, ...] = ()
    read_only: ReadOnly | None = None
    elsewhere: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """One thing in a schema: `table orders`, `column orders.note` of `orders`. What it belongs to goes with it."""

    kind: str
    name: str
    of: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


SchemaSnapshot = Mapping[SchemaObject, str]
"""The schema of a database, without its data: every thing in it, and how that is defined."""


class Blocking(NamedTuple):
    """Which sessions hold a lock that another session waits for.

    `who` names them in a few words, `detail` has a line for each with what it does, `hint` is what a person can do.
    """

    who: str
    detail: str
    hint: str


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
