"""Take one migration up, down and up again in a scratch database, and compare the schemas."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.errors import ExitCode
from orchestrator.events import Failure
from orchestrator.model import Direction, File, Mark, Migration, SchemaObject, SchemaSnapshot
from orchestrator.scratch.scratch_database import ScratchDatabase, StepError


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """What came of a migration. `usable`: the next can be tried in the same scratch database, which is as in `after`."""

    after: SchemaSnapshot
    went_up: bool = True
    usable: bool = True
    failure: Failure | None = None


def round_trip(scratch: ScratchDatabase, migration: Migration, before: SchemaSnapshot) -> RoundTrip:
    """Take a migration up, down and up again; `before` is the schema without it. Return what came of it.

    Of a version with only a down file nothing runs on the way up; its down file is tried, as a rollback runs it.

    Raises InterruptedRunError if the run is stopped, and what a server raises that cannot be asked for its schema.
    """
    try:
        scratch.go(Direction.UP, migration.version)
    except StepError as error:
        return RoundTrip(before, went_up=False, usable=False, failure=error.failure)
    after = scratch.schema_snapshot()
    if migration.down is None:
        where = Mark(migration.up.path) if migration.up else None
        hint = "write one; if there is nothing to undo, use an empty file ([] for MongoDB)"
        return RoundTrip(after, failure=Failure("difference", 1, "it has no down file", where, hint=hint))
    again = False
    try:
        scratch.go(Direction.DOWN, migration.version)
        found = _without_implied(scratch, before, scratch.schema_snapshot(), migration.up)
        failure = compare(before, found, migration.down.path, "left behind", "after the down")
        if failure is None:
            again = True
            scratch.go(Direction.UP, migration.version)
            path = (migration.up or migration.down).path
            failure = compare(after, scratch.schema_snapshot(), path, "there only", "after the second up")
    except StepError as error:
        failure = error.failure
        if again:
            failure = replace(failure, what=f"the second up fails: {failure.what}")
    return RoundTrip(after, usable=failure is None, failure=failure)


def _without_implied(
    scratch: ScratchDatabase, before: SchemaSnapshot, found: SchemaSnapshot, up: File | None
) -> SchemaSnapshot:
    """Leave out what no command of the up file made, but the server by itself, and what is no more than its name."""
    more = [schema_object for schema_object in found if schema_object not in before]
    if up is None or not any(schema_object.kind == "collection" for schema_object in more):
        return found
    script = scratch.run.read_script(scratch.run.databases[scratch.id], up)
    made = {one.body.get("create") for one in script.statements if isinstance(one.body, dict)}
    target = scratch.run.targets[scratch.id]
    with scratch.run.engines[target.engine].connect(target) as session:
        implied = {
            schema_object for schema_object in more if schema_object.name not in made and session.is_bare(schema_object)
        }
        session.keep()
    return {schema_object: definition for schema_object, definition in found.items() if schema_object not in implied}


def compare(expected: SchemaSnapshot, found: SchemaSnapshot, path: str, more: str, when: str) -> Failure | None:
    """Return how two schema snapshots differ, as a failure of the file that should have made them equal; None if equal."""
    extra, missing = _whole(expected, found), _whole(found, expected)
    changed = [
        schema_object
        for schema_object, definition in expected.items()
        if found.get(schema_object, definition) != definition
    ]
    parts = [
        f"{what} {when}: {', '.join(map(str, sorted(schema_objects, key=str)))}"
        for what, schema_objects in ((more, extra), ("missing", missing), ("different", changed))
        if schema_objects
    ]
    if not parts:
        return None
    lines = [
        f"{schema_object}\n  before  {expected[schema_object]}\n  now     {found[schema_object]}"
        for schema_object in sorted(changed, key=str)
    ]
    return Failure("difference", int(ExitCode.FAILED), "; ".join(parts), Mark(path), "\n".join(lines))


def _whole(less: SchemaSnapshot, more: SchemaSnapshot) -> list[SchemaObject]:
    """Return what only the second has, without what belongs to something that only it has."""
    only = [schema_object for schema_object in more if schema_object not in less]
    names = {schema_object.name for schema_object in only if schema_object.name != schema_object.of}
    return [schema_object for schema_object in only if schema_object.of not in names]
