"""The protocols that a new engine implements. An engine supplies operations and takes no decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple, Protocol

from orchestrator.model import (
    NO_CHECKS,
    Attempt,
    Blocking,
    Checks,
    CreateOptions,
    File,
    History,
    LockHolder,
    Mark,
    SchemaObject,
    SchemaSnapshot,
    Script,
    Statement,
    Target,
    VersionRow,
    Vitals,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a statement may wait for a table's lock, and run; seconds. 0 means no limit, None the one of the server.

    `lock_try` is how long it may wait at a time if others queue behind it.
    """

    lock_timeout: float | None = None
    lock_try: float | None = None
    statement_timeout: float | None = None

    @property
    def in_queue(self) -> Limits:
        """The limits for a statement behind which the readers of its table would wait."""
        limits = [limit for limit in (self.lock_timeout, self.lock_try) if limit]
        return replace(self, lock_timeout=min(limits)) if limits else self


class Rows(NamedTuple):
    """The answer to a query: names of columns, and rows of texts; None is NULL, or nothing."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


MAX_MESSAGES = 100
"""So many messages of the server, and so many WARNINGs, are told of one file."""


class Effect(Enum):
    """What became of a statement whose end was not recorded."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


class Reach(Enum):
    """How far a statement reaches that is not confined to the database in which it runs."""

    OTHER = "other"
    """It changes another database or the server, or reads another database: no copy of a database may run it."""
    SERVER = "server"
    """It adds to the server what all databases share, such as a role: a copy runs it once more."""
    MAY = "may"
    """It may reach further, or reaches what it cannot change: a copy runs it, and that is told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A statement that reaches beyond its database: where it is, what it does, and what to do about it."""

    where: Mark
    what: str
    reach: Reach
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Routine:
    """A function that a file makes: what it does that no copy may, '' for nothing, and the names of what it calls."""

    name: str
    what: str
    calls: frozenset[str]


@dataclass(frozen=True, slots=True)
class Confined:
    """A file as it runs in a copy of its database, and what in it reaches further than the copy."""

    script: Script
    findings: tuple[Finding, ...] = ()
    routines: tuple[Routine, ...] = ()
    calls: Callable[[frozenset[str]], Iterable[Finding]] = lambda names: ()  # noqa: ARG005 - of routines of these names


class Session(Protocol):
    """One connection to one database. Only `cancel` may be called from another thread.

    Every verb raises our errors: StatementError, NotPermittedError, ConnectionLostError.
    """

    watched_after: float | None
    """Seconds after which it is worth looking with `watch` what a first try waits for; None: only a later one."""

    def read_history(self, extensions: Sequence[str] = ()) -> History:
        """Return what the database remembers. Creates nothing. Of `extensions`, those installed are told."""

    def look(self, extensions: Sequence[str] = ()) -> tuple[History, LockHolder | None]:
        """Return what `read_history` does, and who holds the migration lock now."""

    def keep(self) -> None:
        """Say that another session on this database follows within seconds: it may have this one's connection."""

    def lock(self, wait: float, on_wait: Callable[[LockHolder], None]) -> AbstractContextManager[None]:
        """Hold the migration lock that golang-migrate takes too; LockError after `wait` seconds."""

    def holder(self) -> LockHolder | None:
        """Return who holds the migration lock now."""

    def unlock(self, holder: LockHolder, *, terminate: bool = False) -> None:
        """Remove the lock of this holder, which a person knows to be gone; `terminate`: end their session first.

        LockError if somebody else holds it by now, or if it cannot be removed as long as they live.
        """

    def prepare(self, extensions: Sequence[str]) -> None:
        """Create these extensions where they are missing."""

    def commit(
        self,
        statements: Sequence[Statement],
        attempts: Sequence[Attempt],
        version_row: VersionRow | None,
        limits: Limits,
        checks: Checks = NO_CHECKS,
    ) -> None:
        """Run statements and write records and version table: all of it or nothing. Creates an absent history store.

        Without statements it only records. `version table` None leaves the version table as it is. `checks` are asked
        in the same transaction, before and after the statements; CheckError undoes all of it.
        """

    def kept_texts(self, version: int | None = None) -> Mapping[tuple[int, int], str]:
        """Return what the history keeps of the text of files, by version and attempt: of one version, or of all."""

    def ask(self, check: Statement, limits: Limits) -> None:
        """Ask a question of a file without changing anything; CheckError if the answer is not true."""

    def select(self, query: Statement, limits: Limits, most: int) -> Rows:
        """Return the answer to a query in a transaction that cannot change anything: at most `most` rows and one more."""

    def begin(self, attempt: Attempt, statements: Sequence[Statement], limits: Limits) -> None:
        """Get ready to run what is left of a file statement by statement; what is above it is done.

        Until all is done or has failed, whatever a statement does to its session lasts for the next.
        """

    def execute(self, statement: Statement, limits: Limits) -> None:
        """Run one statement that cannot be part of a transaction."""

    def probe(self, statement: Statement, limits: Limits) -> tuple[Effect, str]:
        """Find out whether what a statement does is done, with the facts seen. May clear the debris of one cut off."""

    def commits(self, statement: Statement) -> bool:
        """Whether this statement can commit together with its record on this server."""

    def commits_together(self, script: Script) -> bool:
        """Whether a whole file can commit in one transaction, with its record, on this server."""

    def messages(self) -> list[tuple[str, str]]:
        """Return what the server has said beside its answers since this was asked last, each once: severity and text.

        At most `MAX_MESSAGES` and one more of WARNINGs, and of all others.
        """

    def watch(self) -> AbstractContextManager[Callable[[], Blocking | None]]:
        """Watch this session from a second connection: the function tells whom it waits for now.

        Both may be called from another thread. A server that does not tell, or cannot be asked, is no error.
        """

    def schema_snapshot(self) -> SchemaSnapshot:
        """Return the schema as it is now, without the bookkeeping."""

    def server(self) -> str:
        """Return the engine and the major version of the server, as `postgres 15`."""

    def vitals(self) -> Vitals:
        """Return the server's clock, and what would stop a migration here. Only reads."""

    def kept_snapshot(self) -> str:
        """Return what `keep_snapshot` stored last; '' if nothing."""

    def keep_snapshot(self, text: str) -> None:
        """Store a text beside the history, in place of the one before."""

    def is_bare(self, schema_object: SchemaObject) -> bool:
        """Whether a schema object is nothing but its name: the server creates such an object by itself when it is used."""

    def cancel(self) -> None:
        """End the running statement on the server. The one verb for other threads."""


class Copies(Protocol):
    """Whole databases of one server as templates, and copies of these: what clones for tests are made with."""

    def names(self, prefix: str) -> list[str]:
        """Return the names of the databases that begin so; of templates, the oldest first."""

    def building(self, template: str, wait: float) -> AbstractContextManager[None]:
        """Be the only one who builds or drops this template; LockError after `wait` seconds."""

    def is_finished(self, template: str) -> bool:
        """Whether the template is there and whole."""

    def finish(self, template: str, origin: str) -> None:
        """Say that the template that this process is building is whole: from now on it is only copied.

        `origin` is kept with it.
        """

    def origins(self, prefix: str) -> dict[str, str]:
        """Return the origins of the whole templates whose names begin so; '' where none was kept."""

    def copy(self, template: str, name: str, wanted: str = "") -> None:
        """Make a database of the template, called `wanted`, and marked as a clone, if that is given.

        Until it is whole, `name` is what tells whose it is: what a killed process leaves goes with that.
        DatabaseMissingError if the template is gone, UsageError if the wanted name is taken.
        """

    def is_marked(self, name: str) -> bool:
        """Whether a database with a name of its own was made as a clone."""

    def drop(self, name: str) -> None:
        """Drop a clone or a template, whoever is connected to it. None of that name: nothing to do."""


class Engine(Protocol):
    """One kind of database server."""

    name: str

    def parse(self, file: File, text: str, *, piecewise: bool = False) -> Script:
        """Return a file's statements; InvalidError with file, line and column if it is not one of ours.

        `piecewise`: each statement commits by itself, as golang-migrate's `x-multi-statement=true` has it.
        """

    def confine(self, script: Script, database: str, scratch: str) -> Confined:
        """Return a file of `database` as it runs in its copy `scratch`, and what in it reaches beyond that.

        Where the file names its own database, and that is exact, the copy is named instead. Asks no server.
        """

    def check(self, target: Target) -> None:
        """Raise InvalidError for a DSN that the driver would mistake. Asks no server."""

    def create(self, target: Target, options: CreateOptions) -> bool:
        """Create a missing database. Returns False if somebody else was quicker."""

    def connect(self, target: Target, until: float | None = None) -> AbstractContextManager[Session]:
        """Open a session; ConnectError, NotPermittedError, or DatabaseMissingError if the server has none of that name.

        `until` (monotonic time): the caller tries again until then, so that one try need not be patient.
        """

    def copies(self, target: Target, options: CreateOptions) -> Copies:
        """Return the verbs for templates and clones on this target's server."""

    def close(self) -> None:
        """Close what is shared between sessions."""
