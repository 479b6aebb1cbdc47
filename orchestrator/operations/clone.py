"""Create a fresh migrated copy of a database, and drop copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from orchestrator.errors import InvalidError, UsageError
from orchestrator.events import Sink
from orchestrator.hints import NAME, Command, Hint
from orchestrator.manifest.retarget import without_password
from orchestrator.model import Database, Target
from orchestrator.operations.assembly import Assembly
from orchestrator.operations.scope import Scope, the_one
from orchestrator.scratch.clone_names import CLONES, TEMPLATES, clone_name
from orchestrator.scratch.clones import Cloner, Copy

__all__ = ["Clone", "Cloner", "clone", "cloner", "clones", "drop"]


@dataclass(frozen=True, slots=True)
class Clone:
    """A copy: of which database, its `name` on the server, and its `dsn` without the password."""

    id: str
    engine: str
    name: str
    endpoint: str
    dsn: str


def clone(
    scope: Scope, sink: Sink, name: str, *, wanted: str | None = None, seeds: bool = True, pid: int | None = None
) -> Clone:
    """Make a copy of the database of this name and return it. Copies whose process has exited are dropped before.

    `wanted` is what the copy is called (default: a new name); `pid` is the process that it belongs to. UsageError for both
    at once, for the name of a database of the manifest or one that orch gives itself, and for one that means several databases.
    """
    if wanted is not None and pid:
        raise UsageError("--as and --pid exclude each other", hint="the name is what tells whose a copy is")
    if wanted is not None and (not wanted or wanted.startswith((CLONES, TEMPLATES))):
        what = (
            f"a copy cannot be called {wanted!r}: orch gives such names itself" if wanted else "--as has an empty name"
        )
        raise UsageError(what, hint="name it otherwise, or leave out --as: then it gets a new name")
    if pid:
        clone_name(pid)  # refuses a process that is not there before anything is made
    assembly = replace(scope, only=[name], no_deps=True).assemble()
    id = the_one(assembly, name)
    cloner = Cloner(scope.run(assembly, sink), seeds)
    if wanted:
        _refuse_declared(assembly, cloner.run.targets[id], wanted, scope.embedded)
    cloner.drop_left_behind([id])
    target = cloner.clone(id, wanted or "", pid=pid)
    return Clone(id, target.engine, target.database, target.endpoint, without_password(target))


def cloner(
    assembly: Assembly, database: Database, sink: Sink, *, seeds: bool = True, embedded: bool = False, wait: float = 0.0
) -> Cloner:
    """Return what makes and drops copies of one database. Nobody needs the credentials of others."""
    alone = replace(assembly, databases=(database,))
    return Cloner(alone.run(sink, embedded=embedded, wait=wait), seeds)


def clones(scope: Scope, sink: Sink) -> list[Copy]:
    """Return the clones and templates on the servers of the chosen databases."""
    assembly = scope.assemble()
    cloner = Cloner(scope.run(assembly, sink))
    return cloner.listed([database.id for database in assembly.databases])


def drop(
    scope: Scope,
    sink: Sink,
    names: Sequence[str] = (),
    *,
    left_behind: bool = False,
    templates: bool = False,
    every: bool = False,
) -> Iterator[str]:
    """Drop copies, and yield the name of each that is dropped: those named, those of processes that are gone, templates.

    `every`: every clone on the servers of the manifest, also one that is in use.

    UsageError if none of these is asked for, or a name is no copy.
    """
    if not (names or left_behind or templates or every):
        hint = Hint(
            Command("drop-clone", NAME), ", --left-behind, --all or --templates; ", Command("clones"), " lists them"
        )
        raise UsageError("no clone given", hint=hint)
    assembly = scope.assemble()
    cloner = Cloner(scope.run(assembly, sink))
    ids = [database.id for database in assembly.databases]
    for name in names:
        cloner.drop_on_any(ids, name)
        yield name
    for one in cloner.listed(ids) if every else ():
        if not one.template:
            cloner.drop_on_any(ids, one.name)
            yield one.name
    yield from cloner.drop_left_behind(ids) if left_behind else ()
    yield from cloner.drop_templates(ids) if templates else ()


def _refuse_declared(assembly: Assembly, target: Target, wanted: str, embedded: bool) -> None:
    """Refuse the name of a database that the manifest has on this server, whether it is there yet or not."""
    for other in assembly.manifest.databases:
        if other.engine == target.engine:
            with suppress(InvalidError):  # what it needs is not in the environment, so it is on another server
                theirs = replace(assembly, databases=(other,)).targets(embedded=embedded)[other.id]
                if (theirs.endpoint, theirs.database) == (target.endpoint, wanted):
                    raise UsageError(f"'{wanted}' is {other.id} itself", hint="name the copy otherwise")
