"""Keep statements inside a scratch database. Every template, clone and verification asks this module first.

A migration file that runs in a copy can still name its real database. So each file is read before anything runs. Where it
names its own database, and the replacement is exact, the name of the scratch database takes its place. Anything else that
would reach the server or another database is refused, with its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestrator.engines.base import Confined, Finding, Reach
from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.events import Notice
from orchestrator.execution.run import Run
from orchestrator.manifest.retarget import retarget
from orchestrator.model import Database, Direction, File, Migration, Script

UP = (Direction.UP,)
BOTH = (Direction.UP, Direction.DOWN)
_TOLD = 20
"""At most this many findings are reported one by one."""


def confined(
    run: Run, id: str, scratch: str, migrations: Sequence[Migration], directions: Sequence[Direction] = UP
) -> Run:
    """Return a run of these migrations in the database `scratch` on the server of `id`, and in nothing else.

    InvalidError, or InvalidGroup for several, if a file cannot be confined to it; nothing has run then. A notice tells of
    each statement that acts on the whole server but may be run again.
    """
    database = run.databases[id]

    def read(database: Database, file: File) -> Script:
        found = _confined(run, database, file, scratch)
        InvalidGroup.raise_if(_refusal(id, finding) for finding in found.findings if finding.reach is Reach.OTHER)
        return found.script

    findings = [finding for _, finding in reaching(run, id, migrations, directions, scratch)]
    InvalidGroup.raise_if(_refusal(id, finding) for finding in findings if finding.reach is Reach.OTHER)
    for finding in findings[:_TOLD]:
        run.sink(Notice(id, f"{finding.where}: {finding.what}; it runs for this copy too"))
    return replace(
        run,
        databases={id: replace(database, create=database.create._replace(connection_limit=None))},
        targets={id: retarget(run.targets[id], scratch)},
        catalogs={id: tuple(migrations)},
        read_script=read,
    )


def reaching(
    run: Run, id: str, migrations: Sequence[Migration], directions: Sequence[Direction], scratch: str
) -> Iterator[tuple[Migration, Finding]]:
    """Yield the statements of these files that reach beyond a database called `scratch`; InvalidGroup if files do not parse."""
    invalid: list[InvalidError] = []
    read: list[tuple[Migration, Confined]] = []
    unknown: list[tuple[Migration, Finding]] = []
    for migration in migrations:
        for file in filter(None, map(migration.file, directions)):
            try:
                confined = _confined(run, run.databases[id], file, scratch)
                read.append((migration, confined))
                for finding in confined.findings:
                    yield migration, finding
                    unknown += [(migration, finding)] if finding.unknown else []
            except InvalidGroup as group:
                invalid.extend(group.errors)
            except InvalidError as error:
                invalid.append(error)
    InvalidGroup.raise_if(invalid)
    names = reaching_routines([confined for _, confined in read])
    executing: dict[str, frozenset[int]] = {}
    for routine in (one for _, confined in read for one in confined.routines if one.executes):
        executing[routine.name] = executing.get(routine.name, frozenset()) | routine.databases
    if names or executing:
        for migration, confined in read:
            for finding in confined.calls(names, executing):
                yield migration, finding
                unknown += [(migration, finding)] if finding.unknown else []
    if "dblink" in run.databases[id].create.extensions or any(confined.links for _, confined in read):
        for migration, finding in unknown:
            what = f"{finding.what}: with dblink it can reach any"
            yield migration, finding._replace(what=what, reach=Reach.OTHER, hint="write into the file what it executes")


def reaching_routines(files: Sequence[Confined]) -> frozenset[str]:
    """Return the names of the functions that reach beyond the database, themselves or through functions that they call."""
    routines = [routine for confined in files for routine in confined.routines]
    taking = {routine.name for routine in routines if routine.databases}  # what another one gives them cannot be read
    names = {routine.name for routine in routines if routine.what or routine.calls & taking}
    while more := {routine.name for routine in routines if routine.calls & names} - names:
        names |= more
    return frozenset(names)


def _confined(run: Run, database: Database, file: File, scratch: str) -> Confined:
    target = run.targets[database.id]
    return run.engines[target.engine].confine(run.read_script(database, file), target.database, scratch)


def _refusal(id: str, finding: Finding) -> InvalidError:
    return InvalidError(f"no copy of {id} can run this: {finding.what}", where=finding.where, hint=finding.hint)
