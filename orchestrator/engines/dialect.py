"""What an engine is, apart from its driver: one frozen record for each engine.

Everything outside of `engines/` asks this record instead of comparing engine names. No module imported here may import
a database driver: the records are read at every start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Scaffold:
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


@dataclass(frozen=True, slots=True)
class EmbeddedServers:
    """How real servers of this engine run without Docker, for development and tests.

    `programs` are the classes that start one, the best first, as `module:Class`. `query` is the part of the DSN after
    `?`. `variables` are set by `orch dev env` beside user, password, host and port.
    """

    programs: tuple[str, ...]
    query: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an engine is, without its driver.

    Attributes:
        name: the name in the manifest and in ids.
        title: the name for people.
        aliases: other words for it, for "did you mean".
        engine: the class with the verbs, as `module:Class`; importing it loads the driver.
        schemes: what a DSN begins with, before `://`; the first is the usual one.
        extensions: the file extensions of migrations; the first is the usual one.
        name_problem: why a database cannot have this name, or an empty text.
        server_databases: databases that belong to the server itself.
        creates: whether a missing database is created by a statement (else by the first write to it).
        create_options: the keys of `create:` in the manifest that this engine has.
        maintenance_database: whether there is a database from which others are created.
        scaffold: the texts of new files.
        embedded: how a server of it runs without Docker.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    engine: str
    schemes: tuple[str, ...]
    extensions: tuple[str, ...]
    name_problem: Callable[[str], str]
    server_databases: tuple[str, ...]
    creates: bool
    create_options: tuple[str, ...]
    maintenance_database: bool
    scaffold: Scaffold
    embedded: EmbeddedServers
