"""Add a database to a project: its manifest entry, its first migration, and what is rendered. No server is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from orchestrator.engines import DIALECTS, dialect
from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.files.changes import change
from orchestrator.files.scaffold import first_pair
from orchestrator.hints import Blank, Command, Hint, joined
from orchestrator.manifest.edit import insert
from orchestrator.manifest.source import shown
from orchestrator.model import Database
from orchestrator.operations.project import Changes, Project, changes, open_project, renamed_notes, the_new

_SERVERS = re.compile(r"^servers:[ \t]*(?:#[^\n]*)?\r?\n(?=(?:[ \t]*(?:#[^\n]*)?\r?\n)*  [A-Za-z_])", re.MULTILINE)
"""The first line of the servers, where they are indented by two spaces as `orch init` writes them."""

_DATABASES = re.compile(r"^databases:", re.MULTILINE)


def add_db(
    name: str,
    file: str | None = None,
    *,
    engine: str | None = None,
    server: str | None = None,
    depends_on: Sequence[str] = (),
    labels: Sequence[str] = (),
    create: Sequence[str] = (),
    migrations: str | None = None,
) -> Changes:
    """Return the changes that add a database. `create` are KEY=VALUE pairs for CREATE DATABASE.

    `migrations` is a directory with migrations that are there already. Those in the usual directory are taken over too;
    otherwise a first pair is written.
    UsageError for a name, an engine, a server or an option that does not fit; InvalidError for a manifest that is wrong.
    """
    project = open_project(file)
    chosen, on = _server(project, engine, server)
    _check_name(project, chosen, name)
    entry: dict[str, Any] = {"name": name, "server": on}
    if depends_on:
        entry["depends_on"] = list(dict.fromkeys(depends_on))
    if migrations is not None:
        entry["migrations"] = migrations
    if labels:
        entry["labels"] = list(dict.fromkeys(labels))
    if create:
        entry["create"] = _create_options(chosen, list(create))
    text = insert(_with_server(project, on), entry, shown(project.path))
    try:
        after = project.with_text(text)
    except InvalidError as error:
        errors = error.errors if isinstance(error, InvalidGroup) else (error,)
        nothing = "nothing was written"  # and no place is told: it would be in a text that nobody has
        whole = [InvalidError(one.what, detail=one.detail, hint=joined("; ", [nothing, one.hint])) for one in errors]
        raise (whole[0] if len(whole) == 1 else InvalidGroup(whole)) from None
    database = the_new(project, after)
    taken = _taken_over(database, asked=migrations is not None)
    files = {} if taken else first_pair(chosen, name)
    found = [change(database.directory / one, content.encode()) for one, content in files.items()]
    # The manifest comes last: what stops us before leaves at most files that nothing refers to.
    found += [*after.render_changes(), project.manifest_change(text)]
    name = _shortest(after, database.id)
    if taken:
        have = (
            f"took over {taken} migration{'s' * (taken > 1)} of {shown(database.directory)}; if the database exists: "
        )
        following = Hint(have, Command("baseline", name, "--version", Blank("VERSION")), ", then: ", Command("plan"))
    else:
        edit = " and ".join(shown(database.directory / one) for one in files)
        following = Hint(f"edit these two files: {edit}, then: ", Command("apply", "--only", name))
    return changes(found, project.root, following, renamed_notes(project, after))


def _server(project: Project, engine: str | None, server: str | None) -> tuple[str, str]:
    """Return the engine and the server that the new database goes to; the server may have to be declared first."""
    from orchestrator.errors import UsageError
    from orchestrator.phrases import did_you_mean, either

    if engine is not None and engine not in DIALECTS:
        raise UsageError(
            f"there is no engine {engine!r}", hint=did_you_mean(engine, DIALECTS) or f"use {either(list(DIALECTS))}"
        )
    servers = {name: values["engine"] for name, values in (project.values.get("servers") or {}).items()}
    if server is not None:
        if server not in servers:
            hint = did_you_mean(server, servers) or f"the servers are {', '.join(servers) or 'none: declare one'}"
            raise UsageError(f"there is no server {server!r} in the manifest", hint=hint)
        if engine and servers[server] != engine:
            raise UsageError(
                f"the server {server!r} is of engine {servers[server]}, not {engine}", hint="choose one of both"
            )
        return servers[server], server
    engine = engine or next((kind for kind in DIALECTS if kind in servers.values()), next(iter(DIALECTS)))
    of_engine = [name for name, kind in servers.items() if kind == engine]
    if not of_engine:
        if engine not in servers and (_SERVERS.search(project.text) or _has_none(project)):
            return engine, engine  # `_with_server` declares it
        raise UsageError(f"the manifest has no server of engine {engine}", hint="declare it under 'servers'")
    if len(of_engine) > 1:
        raise UsageError(f"there are {len(of_engine)} servers of engine {engine}", hint=f"--server {either(of_engine)}")
    return engine, of_engine[0]


def _with_server(project: Project, server: str) -> str:
    """Return the text of the manifest; with a server, as `orch init` writes it, if there is none of this name."""
    if server in (project.values.get("servers") or {}):
        return _with_list(project)
    if _has_none(project):
        return _DATABASES.sub(
            lambda found: f"servers:\n{dialect(server).scaffold.server}{found[0]}", _with_list(project)
        )
    return _SERVERS.sub(lambda found: found[0] + dialect(server).scaffold.server, project.text, count=1)


def _has_none(project: Project) -> bool:
    """Whether a manifest, written as a block, declares no servers."""
    return "servers" not in project.values and bool(_DATABASES.search(_with_list(project)))


def _with_list(project: Project) -> str:
    """Return the text of the manifest; with an empty list at its end if it has no `databases`."""
    if "databases" in project.values or not re.search(r"^version:", project.text, re.MULTILINE):
        return project.text
    return project.text.rstrip() + "\ndatabases:\n"


def _check_name(project: Project, engine: str, name: str) -> None:
    from orchestrator.errors import UsageError
    from orchestrator.manifest.names import name_problem

    known = dialect(engine)
    problem = name_problem(engine, name)
    if not problem and name in known.server_databases:
        problem = "belongs to the server"
    if not problem and not re.fullmatch(r"[a-z0-9_][a-z0-9_-]*", name):
        problem = "is invalid: use a-z, 0-9, _ and -; it must not start with -"
    if problem:
        lowered = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")[:63]
        hint = f"perhaps {lowered!r}?" if lowered and lowered not in known.server_databases else ""
        if re.search(r"\{\w+\}", name):
            hint = "for one database for each tenant, write an entry with for_each into the manifest: docs/fleets.md"
        raise UsageError(f"the name {name!r} {problem}", hint=hint)
    for database in project.manifest.databases:
        if (database.engine, database.name) == (engine, name):
            raise UsageError(f"there is a database {database.id!r} already", hint=f"it is declared at {database.mark}")


def _create_options(engine: str, given: list[str]) -> dict[str, Any]:
    from orchestrator.errors import UsageError

    known = dialect(engine).create_options
    if not known:
        raise UsageError(f"--create does not apply to {dialect(engine).title}: it has no options for a new database")
    found: dict[str, Any] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not value or key not in known:
            raise UsageError(f"--create {pair!r} is not KEY=VALUE", hint=f"the keys are {', '.join(known)}")
        if key == "extensions":
            found.setdefault(key, []).extend(filter(None, value.split(",")))
        elif key == "connection_limit":
            if not value.lstrip("-").isdecimal():
                raise UsageError(f"--create {pair!r}: the limit must be a number")
            found[key] = int(value)
        else:
            found[key] = value
    return found


def _taken_over(database: Database, *, asked: bool) -> int:
    """Return how many migrations the directory of the new database has; 0 if it is empty or missing.

    UsageError for a directory that holds something else, InvalidError for migrations that cannot be read.
    """
    from orchestrator.errors import UsageError
    from orchestrator.manifest.source import shown
    from orchestrator.planning.catalog import read_catalog

    directory = database.directory
    try:
        if asked and not directory.is_dir():
            raise UsageError(f"there is no directory {shown(directory)}", hint="nothing was written")
        if not asked and not (directory.exists() and any(directory.iterdir())):
            return 0
        found = len(read_catalog(database))
    except OSError as error:
        raise UsageError(f"{shown(directory)} cannot be used: {error.strerror}") from None
    if not found:
        what = (
            f"{shown(directory)} has no migrations"
            if asked
            else f"{shown(directory)} is there already, and is not empty"
        )
        raise UsageError(what, hint="it has no migrations that could be taken over; nothing was written")
    return found


def _shortest(project: Project, id: str) -> str:
    """Return the bare name where it means one database."""
    names = [database.name for database in project.manifest.databases]
    name = project.manifest.database(id).name
    return name if names.count(name) == 1 else id
