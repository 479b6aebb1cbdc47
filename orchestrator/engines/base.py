"""The protocols that a new engine implements. An engine supplies operations and takes no decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from typing import Protocol, runtime_checkable

from orchestrator.model import (
    NO_CHECKS,
    Activity,
    Attempt,
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
from orchestrator.records import NamedTuple


class Limits(NamedTuple):
    """How long a statement may wait for the lock of a table, and how long it may run. In seconds.

    0 means no limit; None means the limit of the server. `lock_try` is the longest single wait for a lock behind which
    other sessions queue; the statement may be tried again until `lock_timeout` is over.
    """

    lock_timeout: float | None = None
    lock_try: float | None = None
    statement_timeout: float | None = None

    @property
    def in_queue(self) -> Limits:
        """The limits for one try of a statement that makes the readers of its table wait while it waits itself."""
        limits = [limit for limit in (self.lock_timeout, self.lock_try) if limit]
        return self._replace(lock_timeout=min(limits)) if limits else self


class Rows(NamedTuple):
    """The answer to a query: names of columns, and rows of texts; None is NULL, or nothing."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


MAX_MESSAGES = 100
"""At most this many WARNINGs of a server, and this many of its other messages, are shown for one file."""


class Effect(Enum):
    """What became of a statement whose end was not recorded."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


class Reach(Enum):
    """How far a statement reaches beyond the database in which it runs."""

    OTHER = "other"
    """It changes another database or the server, or reads another database: no copy of a database may run it."""
    SERVER = "server"
    """It creates something that all databases of the server share, such as a role. A copy runs it again."""
    MAY = "may"
    """It may reach further, or it reaches something that it cannot change. A copy runs it, and a notice says so."""


class Finding(NamedTuple):
    """A statement that reaches beyond its database: where it is, what it does, and what to do about it.

    `unknown`: it executes a text that nobody can read before it runs.
    """

    where: Mark
    what: str
    reach: Reach
    hint: str = ""
    unknown: bool = False


class Routine(NamedTuple):
    """A function that a file creates.

    `what` is what it does that no copy may do, or ''. `calls` are the names of the functions that it calls. `executes`: it
    executes a text that is not in it, such as one that it is given. `databases` are the places of the parameters that it
    takes for names of databases there.
    """

    name: str
    what: str
    calls: frozenset[str]
    executes: bool = False
    databases: frozenset[int] = frozenset()


class Confined(NamedTuple):
    """A file as it runs in a copy of its database.

    `findings` are the statements that reach beyond the copy. `routines` are the functions that the file creates. `calls`
    takes two sets of names: functions that reach beyond the copy, and functions that execute a text, with their `databases`.
    It returns a finding for each call of a function that reaches beyond, and for each text that does. `links`: the file
    creates an extension whose functions reach other databases, so that any text may call them.
    """

    script: Script
    findings: tuple[Finding, ...] = ()
    routines: tuple[Routine, ...] = ()
    calls: Callable[[frozenset[str], Mapping[str, frozenset[int]]], Iterable[Finding]] = lambda *_: ()
    links: bool = False


class Session(Protocol):
    """One connection to one database. Only `cancel` may be called from another thread.

    Every verb raises our errors: StatementError, NotPermittedError, ConnectionLostError.
    """

    tells_of_lock: bool
    """Whether `watch` can tell too what `lock` waits for, beside the holder."""

    def read_history(self, extensions: Sequence[str] = ()) -> History:
        """Return the history and the version table. Creates nothing. The result names those of `extensions` that exist."""

    def look(self, extensions: Sequence[str] = ()) -> tuple[History, LockHolder | None]:
        """Return what `read_history` does, and who holds the migration lock now."""

    def keep(self) -> None:
        """Hint that the engine may keep this connection open for the next session on the same database."""

    def lock(self, wait: float, on_wait: Callable[[LockHolder], None]) -> AbstractContextManager[None]:
        """Hold the migration lock that golang-migrate takes too; LockError after `wait` seconds."""

    def holder(self) -> LockHolder | None:
        """Return who holds the migration lock now."""

    def unlock(self, holder: LockHolder, *, terminate: bool = False) -> None:
        """Remove the lock of a holder that no longer exists. With `terminate`, first end the session of the holder.

        LockError if another holder has the lock by now, or if the lock cannot be removed while its holder is running.
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
        """Run statements, and write attempts and the version row, all in one transaction. Creates missing tables first.

        Without statements it only writes records. If `version_row` is None, the version table stays as it is. `checks`
        are asked in the same transaction, before and after the statements; CheckError rolls everything back.
        """

    def kept_texts(self, version: int | None = None) -> Mapping[tuple[int, int], str]:
        """Return the texts of files that the history keeps, by (version, attempt): of one version, or of all."""

    def ask(self, check: Statement, limits: Limits) -> None:
        """Ask a question of a file without changing anything; CheckError if the answer is not true."""

    def select(self, query: Statement, limits: Limits, most: int) -> Rows:
        """Return the answer to a query in a transaction that cannot change anything: at most `most` rows and one more."""

    def begin(self, attempt: Attempt, statements: Sequence[Statement], limits: Limits) -> None:
        """Prepare to run these last statements of a file one by one. The statements above them are done.

        Until the file is finished or has failed, the session keeps what its statements set.
        """

    def execute(self, statement: Statement, limits: Limits) -> None:
        """Run one statement that cannot be part of a transaction."""

    def probe(self, statement: Statement, limits: Limits) -> tuple[Effect, str]:
        """Find out whether an interrupted statement took effect. Return that, and the facts in words.

        May remove what the interrupted statement left behind, such as an invalid index.
        """

    def commits(self, statement: Statement) -> bool:
        """Whether this statement can commit together with its record on this server."""

    def commits_together(self, script: Script) -> bool:
        """Whether a whole file can commit in one transaction, with its record, on this server."""

    def messages(self) -> list[tuple[str, str]]:
        """Return the server's messages since the last call, each once, as (severity, text).

        At most MAX_MESSAGES + 1 WARNINGs, and as many others.
        """

    def watch(self) -> AbstractContextManager[Callable[[], Activity]]:
        """Watch this session over a second connection. The function returns what it does now, and what it waits for.

        Both may be called from another thread. What the server does not tell stays empty.
        """

    def schema_snapshot(self) -> SchemaSnapshot:
        """Return the schema as it is now, without the tables of orch and golang-migrate."""

    def server(self) -> str:
        """Return the engine and the major version of the server, as `postgres 15`."""

    def vitals(self) -> Vitals:
        """Return the server's clock, and what would stop a migration here. Only reads."""

    def kept_snapshot(self) -> str:
        """Return what `keep_snapshot` stored last; '' if nothing."""

    def keep_snapshot(self, text: str) -> None:
        """Store a text beside the history. It replaces the text stored before."""

    def is_bare(self, schema_object: SchemaObject) -> bool:
        """Whether a schema object is nothing but its name: the server creates such an object by itself when it is used."""

    def cancel(self) -> None:
        """Cancel the running statement on the server. This is the only verb that other threads may call."""


class Copies(Protocol):
    """Templates on one server, and clones copied from them."""

    def names(self, prefix: str) -> list[str]:
        """Return the names of the databases that begin with `prefix`; templates oldest first."""

    def building(self, template: str, wait: float) -> AbstractContextManager[None]:
        """Hold the lock under which a template is built or dropped; LockError after `wait` seconds."""

    def is_finished(self, template: str) -> bool:
        """Whether the template exists and is complete."""

    def finish(self, template: str, origin: str) -> None:
        """Mark the template that this process builds as complete, and store its `origin`. From now on it is only copied."""

    def origins(self, prefix: str) -> dict[str, str]:
        """Return name → origin of the complete templates whose names begin with `prefix`; '' where none is stored."""

    def copy(self, template: str, name: str, wanted: str = "") -> None:
        """Copy the template into a new database. With `wanted`, that is its final name, and it is marked as a clone.

        While it is being copied it is called `name`, which says which process makes it, so that the copy of a killed
        process can be dropped. DatabaseMissingError if the template does not exist, UsageError if `wanted` exists.
        """

    def is_marked(self, name: str) -> bool:
        """Whether a database with a name of its own was made as a clone."""

    def drop(self, name: str) -> None:
        """Drop a clone or a template, even if sessions are connected to it. Does nothing if it does not exist."""


@runtime_checkable
class MemberCopies(Copies, Protocol):
    """Copies that may stay for good: the members of a fleet."""

    def makes_members(self) -> bool:
        """Whether this server copies a database as fast as that is worth it."""

    def unlike(self, script: Script) -> list[Finding]:
        """Return what in a file would have another result in a copy than in the database itself. Asks no server."""

    def copy_member(self, template: str, name: str, wanted: str) -> bool:
        """Copy the template into a new database called `wanted`. Returns False if there is such a database already.

        Until it is whole it is called `name`, as in `copy`. It is no marked clone. DatabaseMissingError: no such template.
        """


class Engine(Protocol):
    """One kind of database server."""

    name: str

    def parse(self, file: File, text: str, *, piecewise: bool = False) -> Script:
        """Return a file's statements; InvalidError with file, line and column if it is not a valid migration.

        `piecewise`: each statement commits by itself, as with golang-migrate's `x-multi-statement=true`.
        """

    def confine(self, script: Script, database: str, scratch: str) -> Confined:
        """Return a file of `database` as it runs in its copy `scratch`, and what in it reaches beyond the copy.

        Where the file names its own database, the result names the copy, if the replacement is exact. Asks no server.
        """

    def check(self, target: Target) -> None:
        """Raise InvalidError for a DSN that the driver would misread. Asks no server."""

    def create(self, target: Target, options: CreateOptions) -> bool:
        """Create a missing database. Returns False if another session has created it meanwhile."""

    def connect(self, target: Target, until: float | None = None) -> AbstractContextManager[Session]:
        """Open a session. ConnectError, NotPermittedError, or DatabaseMissingError if there is no such database.

        `until` (time.monotonic): the caller tries again until then, so this try may give up quickly.
        """

    def copies(self, target: Target, options: CreateOptions) -> Copies:
        """Return the verbs for templates and clones on this target's server."""

    def close(self) -> None:
        """Close what is shared between sessions."""


@runtime_checkable
class Glancing(Protocol):
    """An engine that can look without its driver, because importing that takes longer than the rest of a run."""

    def glance(
        self, target: Target, extensions: Sequence[str] = (), *, whose_lock: bool = False
    ) -> tuple[History, LockHolder | None] | None:
        """Return what a session reads, and with `whose_lock` who holds the lock; None if only a session can. Never raises."""

    def glance_names(self, target: Target, prefix: str) -> list[str] | None:
        """Return the names that `Copies.names` returns, or None. Never raises."""

    def keeps(self, target: Target) -> bool:
        """Whether the engine would keep the connection of a session on this database, as far as is known."""


@runtime_checkable
class KnowsPlace(Protocol):
    """A session that can tell where its records are without reading them again."""

    def place(self) -> str:
        """Return `History.place` of a database in which this session has just written records."""


@runtime_checkable
class ReleasesLock(Protocol):
    """A session that can release the migration lock in the message of a commit, which saves a round trip."""

    def release_with_commit(self) -> None:
        """Nothing is written after the next file: release the lock once it has committed. If it does not, `lock` does."""
