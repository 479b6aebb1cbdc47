"""Check the manifest, every migration file and the graph. No server is asked."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.analysis.sessions import leaks, limited_effects
from orchestrator.engines import dialect
from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.model import Database, Direction, Manifest
from orchestrator.operations.assembly import Assembly, one_of_each
from orchestrator.planning.history import ONLY_DOWN, UNWRITTEN
from orchestrator.planning.places import no_members, unnamed, without_migrations
from orchestrator.records import dataclass, replace


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning that stops no migration. `database` is '' if it is about the whole manifest; warnings of a `kind` look alike."""

    kind: str
    database: str
    what: str


@dataclass(frozen=True, slots=True)
class Validated:
    """The number of databases and files that were checked, and the warnings."""

    databases: int
    files: int
    warnings: tuple[Warned, ...]


def validate(assembly: Assembly) -> Validated:
    """Read and parse every file of the selected databases. Raise InvalidError for one fault, InvalidGroup for several."""
    catalogs = replace(assembly, databases=one_of_each(assembly.databases)).catalogs()
    errors: list[InvalidError] = []
    warnings: list[Warned] = []
    try:
        warnings += _of_other_manifests(assembly)
    except InvalidGroup as group:
        errors.extend(group.errors)
    files = 0
    different = one_of_each(assembly.databases)
    for database in different:
        if not catalogs[database.id]:
            warnings.append(Warned("no files", database.id, without_migrations(database)))
        for migration in catalogs[database.id]:
            if migration.unwritten:
                warnings.append(
                    Warned("unwritten", database.id, f"version {migration.version} {migration.name} {UNWRITTEN}")
                )
            for direction in Direction:
                found = migration.file(direction)
                if found is None:
                    lacks = ONLY_DOWN if direction is Direction.UP else "has no down file: it cannot be rolled back"
                    warnings.append(Warned(lacks, database.id, f"version {migration.version} {lacks}"))
                    continue
                files += 1
                try:
                    script = assembly.read_script(database, found)
                    limited = limited_effects(script, set_local=dialect(database.engine).set_local)
                    warnings += [Warned("limited", database.id, str(one)) for one in limited]
                    warnings += [Warned("note", database.id, note) for note in script.notes]
                except InvalidGroup as group:
                    errors.extend(group.errors)
                except InvalidError as error:
                    errors.append(error)
    InvalidGroup.raise_if(errors)
    for database in different:
        ups = (assembly.read_script(database, one.up) for one in catalogs[database.id] if one.up)
        warnings += [Warned("session", database.id, str(one)) for one in leaks(ups)]
    warnings += _of_fleets(assembly.manifest)
    warnings += [Warned("unnamed", "", what) for what in unnamed(assembly.manifest)]
    return Validated(len(assembly.databases), files, tuple(warnings))


def _of_fleets(manifest: Manifest) -> Iterator[Warned]:
    """Yield warnings of fleets without members, and of rollouts whose canaries and waves mean no member.

    Nothing is known of members that only a query can tell.
    """
    members: dict[int, list[Database]] = {one.entry: [] for one in manifest.fleets}
    for one in manifest.databases:
        if one.fleet:
            members[one.fleet.entry].append(one)
    for fleet in manifest.fleets:
        ones = members[fleet.entry]
        if not ones:
            yield Warned("no members", "", no_members(fleet))
        elif fleet.rollout and not ones[0].stands_for_all:
            from orchestrator.planning.rollout import without_meaning

            yield from (Warned("rollout", "", what) for what in without_meaning(ones, fleet.rollout))


def _of_other_manifests(assembly: Assembly) -> Iterator[Warned]:
    """Yield warnings of the manifests that this one needs, and of those that need it. InvalidGroup for what is wrong."""
    if not assembly.manifest.dependents and not any(one.external for one in assembly.databases):
        return
    from orchestrator.operations.external import dependents, needed_by, not_told

    needed = needed_by(assembly.manifest, assembly.databases)
    yield from (Warned("external", id, what) for id, what in not_told(assembly.manifest, needed))
    try:
        dependents(assembly.manifest, [one.id for one in assembly.manifest.databases])
    except InvalidError as error:  # a checkout may lack it; a rollback refuses then
        yield Warned("external", "", error.what)
