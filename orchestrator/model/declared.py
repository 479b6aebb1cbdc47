"""What the manifest declares, and where a declared database is. All are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.records import NamedTuple, dataclass, field
from orchestrator.secret import Secret


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


class CreateOptions(NamedTuple):
    """What CREATE DATABASE and a database's first minutes need; `Dialect.create_options` says which an engine has."""

    owner: str | None = None
    encoding: str | None = None
    locale: str | None = None
    template: str | None = None
    extensions: tuple[str, ...] = ()
    connection_limit: int | None = None
    maintenance_database: str | None = None
    collation: str | None = None


class Settings(NamedTuple):
    """How migrations run; times in seconds. 0 means no limit, None the one that the server sets.

    `lock_timeout` is how long a file may wait for the locks of tables, all its tries together (None: what the DSN says, or
    ten seconds), and `lock_try` how long
    one of these tries may: so long do the readers of a table wait behind a statement that waits itself. Without `create`
    a missing database is an error. With `keep_text` the history keeps the text of what ran. `drift` is off, warn or
    refuse: what happens where somebody changed the schema since the last apply; `drift_ignore` are globs of schema
    objects that do not count.
    """

    lock_timeout: float | None = None
    lock_try: float | None = 1.5  # more than deadlock_timeout, after which autovacuum gives way
    statement_timeout: float | None = None
    out_of_order: bool = False
    create: bool = True
    keep_text: bool = True
    drift: str = "off"
    drift_ignore: tuple[str, ...] = ()


class Accepted(NamedTuple):
    """What `orch verify` may find in a version without failing; an empty `finding` stands for whatever it finds."""

    version: int
    finding: str = ""


@dataclass(frozen=True, slots=True)
class Lint:
    """How `orch lint` judges a database: levels by code where they are not the default, the server's major version.

    `own_version`: the version is said of this database, not of all of the manifest, which may have several engines.
    """

    levels: Mapping[str, str] = field(default_factory=dict)
    server_version: int | None = None
    own_version: bool = False


@dataclass(frozen=True, slots=True)
class External:
    """A database of another manifest that must be migrated first. `manifest` is its path, as written, from this manifest."""

    manifest: str
    database: str
    mark: Mark = Mark("databases.yaml")


class MemberQuery(NamedTuple):
    """The query that tells the members of a fleet, and the database to ask, as they are written in the manifest."""

    text: str
    database: str
    mark: Mark = Mark("databases.yaml")


class RolloutStep(NamedTuple):
    """How large a wave is: so many members, so many percent of all, or those that match a name, glob or label."""

    size: int = 0
    percent: float = 0.0
    match: str = ""


class Rollout(NamedTuple):
    """How a fleet is migrated: the members that match `canary` first, then waves; the last of `then` is repeated.

    More than `max_failures` failures end it (percent of the members with `rate`). `pause` is the time between two waves
    in seconds; infinite: until somebody resumes it.
    """

    canary: tuple[str, ...] = ()
    then: tuple[RolloutStep, ...] = ()
    max_failures: float = 0
    rate: bool = False
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the members of one entry with `for_each` share.

    `group` is what `group:` selects them by, `template` the name as it is written: `tenant_{tenant}`. `entry` is the
    position of the entry in the manifest, `origin` where its members come from, for people. With `bootstrap` missing
    members are copied from one template. `columns` are those of its source that the entry needs.
    """

    group: str
    template: str
    entry: int
    origin: str = ""
    query: MemberQuery | None = None
    rollout: Rollout | None = None
    mark: Mark = Mark("databases.yaml")
    bootstrap: bool = False
    directory: Path | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Database:
    """One database of the estate. `dsn` is a template, never a resolved value; somebody may still write a password there.

    `database` is the template of its name on the server, where that is not `name`. A member of a `fleet` has the value of
    each column that may stand in its templates in `columns`, and `member` is its own value; without columns it is the one
    that stands for all, because the query that tells the members was not run.
    `variables` are what stands in migration files that are templates.
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
    variables: Mapping[str, str] = field(default_factory=dict)
    mark: Mark = Mark("databases.yaml")
    fleet: Fleet | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    member: str = ""

    @property
    def stands_for_all(self) -> bool:
        """Whether this is no database: it stands for the members of a fleet that are not known."""
        return self.fleet is not None and not self.columns


class Hook(NamedTuple):
    """A webhook that is told of runs. `variable` is the environment variable with its URL, `format` json or slack.

    `events` are what it is told: failed, drifted, finished.
    """

    variable: str
    format: str = "json"
    events: tuple[str, ...] = ("failed", "drifted")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole of `databases.yaml`. `render` is the section of that name, as it stands.

    `dependents` are paths of manifests whose databases may depend on databases of this one. `fleets` are all entries
    with `for_each`, also those without members. `unresolved` are ids of databases that depend on members which are not known.
    """

    path: Path
    databases: tuple[Database, ...]
    history_name: str = "orch_history"
    render: Mapping[str, Any] = field(default_factory=dict)
    dependents: tuple[str, ...] = ()
    fleets: tuple[Fleet, ...] = ()
    unresolved: frozenset[str] = frozenset()
    notify: tuple[Hook, ...] = ()

    def database(self, id: str) -> Database:
        """Return the database with this full id; KeyError if there is none."""
        for database in self.databases:
            if database.id == id:
                return database
        raise KeyError(id)


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """Where a database is, resolved.

    `url` is what the driver gets (no `x-` parameters in it), `parameters` are golang-migrate's `x-…` ones, and
    PostgreSQL's `lock_timeout` in seconds. `endpoint` is `host:port` for people.
    `server_key` is an opaque id that is the same for all databases of one server and login.
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
