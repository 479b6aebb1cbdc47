"""The record of an engine without its driver: one frozen `Dialect` for each engine.

Everything outside of `engines/` asks this record instead of comparing engine names. No module imported here may import
a database driver: the records are read at every start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, cast

from orchestrator.engines.url import Address, Holes
from orchestrator.model import CreateOptions
from orchestrator.records import NamedTuple

if TYPE_CHECKING:
    from orchestrator.engines.parts import Clients, Dumping, Sizing, Squashing, Tracing


class Scaffold(NamedTuple):
    """The texts that `orch init`, `orch add-db` and `orch new` write.

    In `first_up` and `first_down`, `{name}` is the database and `{word}` its name in a file name. In `next_up` and
    `next_down`, `{description}` is what the person wrote. `first` is the description of the first migration.
    `server` is the entry of a server in a new manifest, as YAML text.
    """

    first: str
    first_up: str
    first_down: str
    next_up: str
    next_down: str
    server: str


class ContainerLogin(NamedTuple):
    """How a container gets its login, for `Container.service`.

    `host` is the name of the service, `user` is text that Compose may still interpolate, `password_file` is empty for a
    server without a password.
    """

    host: str
    user: str
    password_file: str


class Container(NamedTuple):
    """A server of this engine as a service of a compose file.

    Attributes:
        image: the official image, with its tag.
        user: the user that the image creates.
        volume: where the image keeps its data.
        accepts: parameters of a DSN (in lower case) that a container can only have with these values, the usual first.
        user_required: whether a DSN must name a user even without a password.
        password_required: whether a user must have a password.
        login_parameter: the parameter that a DSN with a user must have, or nothing.
        logins: variables of the image that hold user and password, and what a new manifest calls them.
        database: variable of the image that names the database which it creates.
        service: returns environment, command and health check, in which `$` is already doubled for Compose.
        create_statement: returns the SQL for the init directory of the image, or None where there is no such directory.
    """

    image: str
    user: str
    volume: str
    accepts: Mapping[str, Sequence[str]]
    user_required: bool
    password_required: bool
    login_parameter: str
    logins: Mapping[str, str]
    service: Callable[[ContainerLogin], dict[str, Any]]
    create_statement: Callable[[str, CreateOptions], str] | None = None
    database: str = ""


class EmbeddedServers(NamedTuple):
    """How real servers of this engine run without Docker, for development and tests.

    `programs` are the classes that start one, the best first, as `module:Class`. `query` is the part of the DSN after
    `?`, `address` how host and port stand in it. `variables` are set by `orch dev env` beside user, password, host and
    port. An engine without a server has `files` instead: the DSN of databases below a directory of ours beside the
    manifest, whose name is filled in for `{directory}`. Where pip brings no server, `package` is the one of Debian and Ubuntu
    that does, and `binary` its program.
    """

    programs: tuple[str, ...]
    query: str = ""
    address: str = "{host}:{port}"
    variables: Mapping[str, str] = MappingProxyType({})
    files: str = ""
    package: str = ""
    binary: str = ""


class DsnForm(Protocol):
    """How an engine reads and rewrites its DSNs. `engines.url.UrlForm` does it for ordinary URLs.

    `schemes` are what a DSN begins with, before `://`, the usual one first. `port` is that of a server where a DSN names
    none. `parameters` are those of golang-migrate (`x-…`), which never reach a driver. Every verb raises DsnError, free
    of secrets, for what it cannot read.
    """

    @property
    def schemes(self) -> tuple[str, ...]: ...  # noqa: D102 - above

    @property
    def port(self) -> str: ...  # noqa: D102

    @property
    def parameters(self) -> tuple[str, ...]: ...  # noqa: D102

    def read(self, text: str, *, unknown: Collection[str] = (), base: Path | None = None) -> Address:
        """Understand a DSN without templates. `unknown`: the parameters whose values are not known yet.

        `base` is the directory of the manifest, at which the path of a file begins.
        """

    def fill(self, skeleton: str, holes: Holes) -> str | None:
        """Return a DSN with each HOLE filled, every value encoded for its place; None if this is no form of a DSN."""

    def retarget(self, url: str, name: str) -> str:
        """Return the DSN of another database of the same server and login."""

    def login(self, url: str) -> str:
        """Return the user of a DSN, who owns what is made there; an empty text where it names none."""

    def without_password(self, url: str) -> str:
        """Return a DSN for people and logs: without its password."""

    def parts(self, url: str) -> tuple[dict[str, str], bool]:
        """Return host, port, user, password and the parameters in lower case, and whether it is a single known host."""

    def within(self, url: str) -> str:
        """Return what of a DSN chooses a part of the database: two entries may share one that differ in this."""


class ShellCall(NamedTuple):
    """How a person gets to the prompt of a database.

    `program` is what to run, `arguments` hold no secret, for every user of the machine can read them; `environment` does.
    `package` says where the program comes from.
    """

    program: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    package: str


class Dialect(NamedTuple):
    """What an engine is, without its driver.

    Attributes:
        name: the name in the manifest and in ids.
        title: the name for people.
        aliases: other words for it, for "did you mean".
        engine: the class with the verbs, as `module:Class`; importing it loads the driver.
        dsn: how its DSNs are read and rewritten.
        extensions: the file extensions of migrations; the first is the usual one.
        name_problem: why a database cannot have this name, or an empty text.
        server_databases: databases that belong to the server itself.
        one_case: whether a server refuses a name that differs from another one only in upper and lower case.
        creates: whether a missing database is created by a statement (else by the first write to it).
        create_options: the keys of `create:` in the manifest that this engine has.
        maintenance_database: whether there is a database from which others are created.
        scaffold: the texts of new files.
        dsn_variable: the variable that holds a whole DSN, in Secrets and elsewhere.
        container: how a server of it runs in a container; None: there is no server, a database is a file.
        embedded: how a server of it runs without Docker.
        client: the module with what a test connects by, a `Clients` (these protocols are in `engines.parts`).
        lint_rules: how the codes of the lint rules begin that are true of its files.
        lint_versions: the oldest and the newest major version that these rules know; none: (0, 0).
        lint_brackets: whether `[name]` is a name in its files.
        lint_lock: the lock of every change, and what it is on, where that is never a table; none: the rules tell it.
        set_local: whether `SET LOCAL` in its files is for one transaction.
        error_code: what people read of the code of a server's error; `{}` stands for the code.
        slow_drop: whether dropping a database takes so long that a test does not wait for it.
        sizes: the module that asks a session how large the tables are, a `Sizing`; '' where nothing counts that.
        tracer: the module that runs a file and tells what each statement did, a `Tracing`; '' where there is none.
        extra: the extra of the package (`dborch[…]`) that brings its driver; '' where it always is there.
        squash: the module that writes one file in place of many, a `Squashing`; '' where there is none.
        shell: returns the call of the engine's own interactive client for a DSN; None: it has none.
        dump: the module that writes a file which makes what a database holds, a `Dumping`; '' where there is none.
        templates: whether members of a fleet can be copied from a template, as `MemberCopies` does it.
        jobs_per_server: how many databases of one server are worked on at the same time, unless a person says.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    engine: str
    dsn: DsnForm
    extensions: tuple[str, ...]
    name_problem: Callable[[str], str]
    server_databases: tuple[str, ...]
    creates: bool
    create_options: tuple[str, ...]
    maintenance_database: bool
    scaffold: Scaffold
    dsn_variable: str
    container: Container | None
    embedded: EmbeddedServers
    client: str
    one_case: bool = False
    lint_rules: tuple[str, ...] = ()
    lint_versions: tuple[int, int] = (0, 0)
    lint_brackets: bool = False
    lint_lock: tuple[str, str] | None = None
    set_local: bool = False
    error_code: str = "code {}"
    slow_drop: bool = False
    extra: str = ""
    squash: str = ""
    tracer: str = ""
    sizes: str = ""
    shell: Callable[[str], ShellCall] | None = None
    dump: str = ""
    templates: bool = False
    jobs_per_server: int = 8

    @property
    def clients(self) -> Clients:
        """The module that `client` names."""
        return cast("Clients", import_module(self.client))

    @property
    def squashing(self) -> Squashing | None:
        """The module that `squash` names; None where there is none."""
        return cast("Squashing", import_module(self.squash)) if self.squash else None

    @property
    def tracing(self) -> Tracing | None:
        """The module that `tracer` names; None where there is none."""
        return cast("Tracing", import_module(self.tracer)) if self.tracer else None

    @property
    def sizing(self) -> Sizing | None:
        """The module that `sizes` names; None where there is none."""
        return cast("Sizing", import_module(self.sizes)) if self.sizes else None

    @property
    def dumping(self) -> Dumping | None:
        """The module that `dump` names; None where there is none."""
        return cast("Dumping", import_module(self.dump)) if self.dump else None
