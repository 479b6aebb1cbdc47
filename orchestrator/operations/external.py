"""Databases of other manifests that databases of this one need, and manifests whose databases need ours. Only reads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.errors import InterruptedRunError, InvalidError, InvalidGroup, NotYetError, OrchError, UsageError
from orchestrator.events import Notice
from orchestrator.execution.run import Run
from orchestrator.execution.survey import survey
from orchestrator.hints import WAIT, Command, Hint, joined
from orchestrator.manifest.dsn import override_variable
from orchestrator.manifest.load import load
from orchestrator.manifest.names import resolve_name
from orchestrator.model import Database, External, Manifest
from orchestrator.operations.assembly import Assembly
from orchestrator.operations.waiting import look, missing_in
from orchestrator.planning.status import DatabaseStatus, ExternalStatus
from orchestrator.planning.surveys import Survey

LOOK_EVERY = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Needed:
    """A database of another manifest that must be migrated first."""

    manifest: Manifest
    database: Database

    @property
    def path(self) -> str:
        """The path of its manifest, from the current directory."""
        return _shown(self.manifest.path)

    @property
    def command(self) -> Command:
        """What migrates it."""
        return Command("apply", "-f", self.path, "--only", self.database.id)

    def __str__(self) -> str:
        return f"{self.database.id} of {self.path}"

    def alone(self, what: str) -> str:
        """Return the text of an error about this database, without the name of the database at its beginning."""
        return what.removeprefix(f"{self.database.id}: ")

    def told(self, hint: Hint) -> Hint:
        """Return a hint of an error of that database: its commands are to be run on the other manifest."""
        return Hint(*(self._there(part) if isinstance(part, Command) else part for part in hint.parts))

    def _there(self, command: Command) -> Command:
        if not {self.database.id, "status", "apply"} & {*command.argv} or "-f" in command.argv:
            return command
        return Command(*command.names, "-f", self.path, *command.argv[len(command.names) :])


def needed_by(manifest: Manifest, databases: Iterable[Database]) -> dict[str, tuple[Needed, ...]]:
    """Return, for each of these databases that needs some, the databases of other manifests.

    InvalidGroup for manifests that are missing or not valid, databases that they do not declare, and circles.
    """
    known = {_key(manifest.path): manifest}
    errors: list[InvalidError] = []
    found: dict[str, tuple[Needed, ...]] = {}
    for database in databases:
        needed: dict[tuple[Path, str], Needed] = {}
        for external in database.external:
            try:
                one = _find(manifest, database, external, known)
                _refuse_circle(manifest, database, external, one, known)
            except InvalidError as error:
                errors.append(error)
            else:
                needed[_key(one.manifest.path), one.database.id] = one
        if needed:
            found[database.id] = tuple(needed.values())
    InvalidGroup.raise_if(errors)
    return found


def not_told(manifest: Manifest, needed: Mapping[str, Sequence[Needed]]) -> Iterator[tuple[str, str]]:
    """Yield a warning for each other manifest that does not list this one under `dependents`, with the database that needs it."""
    here = _key(manifest.path)
    for id, others in needed.items():
        for other in others:
            base = other.manifest.path.parent
            if here not in {_key(base / dependent) for dependent in other.manifest.dependents}:
                path = os.path.relpath(manifest.path.absolute(), base.absolute())
                yield (
                    id,
                    f"{other.path} does not name this manifest, so a rollback of {other.database.id} does not ask for "
                    f"{id}: write there: dependents: [{path}]",
                )


def dependents(manifest: Manifest, ids: Iterable[str]) -> list[Needed]:
    """Return the databases of the manifests under `dependents` that need one of these, directly or through others.

    InvalidError for a manifest that is missing or not valid: what depends on a database must be known.
    """
    known = {_key(manifest.path): manifest}
    found: dict[tuple[Path, str], Needed] = {}
    waiting = [(manifest, set(ids))]
    while waiting:
        upper, needs = waiting.pop()
        for path in upper.dependents:
            lower = _load(upper.path.parent / path, known, f"{_shown(upper.path)} names {path} under 'dependents', and")
            direct = {
                database.id
                for database in lower.databases
                for external in database.external
                if _key(lower.path.parent / external.manifest) == _key(upper.path)
                and _resolved(upper, external.database) in needs
            }
            fresh = {id for id in _with_dependants(lower, direct) if (_key(lower.path), id) not in found}
            found |= {(_key(lower.path), id): Needed(lower, lower.database(id)) for id in fresh}
            if fresh:
                waiting.append((lower, fresh))
    return list(found.values())


@dataclass
class Watch:
    """Looks at the databases of other manifests for one run. `needed` is that of `needed_by`.

    Raises InvalidError at once for DSNs of theirs that cannot be resolved: before anything is touched.
    """

    run: Run
    needed: Mapping[str, tuple[Needed, ...]]
    assembly: Assembly
    _runs: dict[Path, Run] = field(default_factory=dict)
    _migrated: set[tuple[Path, str]] = field(default_factory=set)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        others = [other for others in self.needed.values() for other in others]
        self._runs.update(_runs(others, self.run, self.assembly))

    def state(self, other: Needed) -> str:
        """Return what a database of another manifest lacks, as far as can be told; '' if it is migrated."""
        try:
            return self._lacks(other, over=True)
        except OrchError as error:
            return self.run.redact(other.alone(error.what))

    def states(self, id: str) -> tuple[ExternalStatus, ...]:
        """Return where the databases of other manifests stand that this one needs."""
        return tuple(ExternalStatus(one.path, one.database.id, self.state(one)) for one in self.needed.get(id, ()))

    def waits_for(self, id: str) -> list[str]:
        """Return a sentence for each database of another manifest that this one waits for."""
        return [str(one) for one in self.states(id) if one.waits_for]

    def told(self, status: DatabaseStatus) -> DatabaseStatus:
        """Return the status of a database with what it needs of other manifests, and a note where it waits for that."""
        states = self.states(status.id)
        notes = [str(one) for one in states if one.waits_for]
        return replace(status, external=states, notes=(*notes, *status.notes))

    def ready(self, id: str) -> None:
        """Return when all that a database needs is migrated; NotYetError when the time to wait is over.

        An error that waiting cannot end is raised as it is. Without `--wait` an unreachable server is raised, too.
        """
        for other in self.needed.get(id, ()):
            told = ""
            while True:
                over = time.monotonic() >= (self.run.until or 0)
                try:
                    lacks = self._lacks(other, over=over and bool(self.run.wait))
                except OrchError as error:
                    what = f"{id} needs {other}: {other.alone(error.what)}"
                    raise error.completed(what=what, hint=other.told(error.hint)) from None
                if not lacks:
                    break
                if over:
                    waited = f" within {self.run.wait:g} s" if self.run.wait else ""
                    raise NotYetError(
                        f"{id} needs {other}, which is not migrated{waited}",
                        detail=f"{other.database.id}: {lacks}",
                        hint=Hint("first: ", other.command, f"; or {WAIT} waits until others have done that"),
                    )
                if lacks != told:
                    self.run.sink(Notice(id, f"waits for {other}: {lacks}"))
                    told = lacks
                if self.run.stop.wait(LOOK_EVERY):
                    raise InterruptedRunError(f"stopped while {id} waited for {other}")

    def _lacks(self, other: Needed, *, over: bool) -> str:
        key = _key(other.manifest.path)
        with self._mutex:  # databases that wait for the same one look once
            if (key, other.database.id) in self._migrated:
                return ""
            theirs = self._runs[key]
            alone = replace(theirs, databases={other.database.id: other.database})
            seen = look(alone)[other.database.id]
            lacks = missing_in(other.database, theirs.catalogs[other.database.id], seen, None, over)
            if not lacks:
                self._migrated.add((key, other.database.id))
            return lacks


def watch(run: Run, assembly: Assembly) -> Watch:
    """Return what looks at the databases of other manifests that those of this run need; InvalidError as told there."""
    return Watch(run, needed_by(assembly.manifest, assembly.databases), assembly)


def above(run: Run, assembly: Assembly) -> list[tuple[Needed, Survey]]:
    """Look at the databases of the manifests under `dependents` that need one of this run, directly or through others.

    InvalidError for a manifest that is missing or not valid, and DSNs that cannot be resolved.
    """
    try:
        found = dependents(assembly.manifest, run.databases)
        runs = _runs(found, run, assembly)
    except InvalidError as error:
        hint = joined("; or ", [error.hint, "if nothing there is up: --ignore-dependents"])
        raise error.completed(hint=hint) from None
    seen = {key: survey(theirs, reads=True) for key, theirs in runs.items()}
    return [(one, seen[key][one.database.id]) for one in found for key in [_key(one.manifest.path)]]


def _runs(others: Iterable[Needed], run: Run, assembly: Assembly) -> dict[Path, Run]:
    """Return for each of these manifests a run that looks at its databases; InvalidError if it cannot be made."""
    ours = {database.id for database in assembly.manifest.databases}
    manifests: dict[Path, dict[str, Needed]] = {}
    for other in others:
        variable = override_variable(other.database.id)
        given = any(assembly.env.get(name) for name in (variable, f"{variable}_FILE"))
        if given and other.database.id in ours:
            raise InvalidError(
                f"{variable} is set, and means {other.database.id} of this manifest and of {other.path}",
                hint="give each a variable of its own in its dsn instead",
            )
        manifests.setdefault(_key(other.manifest.path), {})[other.database.id] = other
    runs = {}
    for key, wanted in manifests.items():
        manifest = next(iter(wanted.values())).manifest
        databases = tuple(replace(other.database, depends_on=()) for other in wanted.values())
        theirs = Assembly(manifest, databases, assembly.env, assembly.run_id, assembly.actor)
        runs[key] = replace(theirs.run(run.sink, wait=run.wait), stop=run.stop, started=run.started)
    return runs


def _find(manifest: Manifest, database: Database, external: External, known: dict[Path, Manifest]) -> Needed:
    path = manifest.path.parent / external.manifest
    about = f"database {database.name!r} depends on {external.database!r} of {external.manifest},"
    if _key(path) == _key(manifest.path):
        what = f"{about} which is this manifest"
        raise InvalidError(what, where=external.mark, hint=f"depends_on: [{external.database}]")
    try:
        other = _load(path, known, f"{about} and")
        return Needed(other, resolve_name(other.databases, external.database))
    except UsageError as error:
        raise InvalidError(f"{about} and there {error.what}", where=external.mark, hint=error.hint) from None
    except InvalidError as error:
        raise error.completed(where=error.where or external.mark) from None


def _load(path: Path, known: dict[Path, Manifest], about: str) -> Manifest:
    """Return a manifest; InvalidError that begins with `about` if there is none, or it is not valid."""
    key = _key(path)
    if key not in known:
        if not path.is_file():
            problem = "that is not a file" if path.exists() else "there is no such file"
            raise InvalidError(f"{about} {problem}", hint=f"looked for {_shown(path)}")
        try:
            known[key] = load(path, directories=False)
        except InvalidGroup as group:
            first = group.errors[0]
            detail = "\n".join(f"{error.where}: {error.what}" for error in group.errors)
            raise InvalidError(f"{about} that manifest is not valid", detail=detail, hint=first.hint) from None
        except InvalidError as error:
            detail = f"{error.where}: {error.what}" if error.where else error.what
            raise InvalidError(f"{about} that manifest is not valid", detail=detail, hint=error.hint) from None
    return known[key]


def _refuse_circle(
    manifest: Manifest, database: Database, external: External, first: Needed, known: dict[Path, Manifest]
) -> None:
    """Raise InvalidError if what a database needs in another manifest needs, through any manifests, this database."""
    goal = _key(manifest.path), database.id
    paths: list[list[Needed]] = [[first]]
    seen = set()
    while paths:
        path = paths.pop()
        last = path[-1]
        here = _key(last.manifest.path), last.database.id
        if here == goal:
            names = [one.database.id if one.manifest is manifest else str(one) for one in path]
            raise InvalidError(
                f"the dependencies form a circle over manifests: {' → '.join([database.id, *names])}",
                where=external.mark,
                hint="each depends on the next; remove one of these dependencies",
            )
        if here in seen:
            continue
        seen.add(here)
        paths += [[*path, Needed(last.manifest, last.manifest.database(id))] for id in last.database.depends_on]
        for further in last.database.external:
            try:
                paths.append([*path, _find(last.manifest, last.database, further, known)])
            except InvalidError:  # what is wrong with their own manifests is told by their own validate
                continue


def _with_dependants(manifest: Manifest, ids: set[str]) -> set[str]:
    found = set(ids)
    while more := {one.id for one in manifest.databases if one.id not in found and found & {*one.depends_on}}:
        found |= more
    return found


def _resolved(manifest: Manifest, name: str) -> str:
    try:
        return resolve_name(manifest.databases, name).id
    except UsageError:
        return ""


def _key(path: Path) -> Path:
    return Path(os.path.realpath(path))  # unlike Path.resolve, it takes a symbolic link that leads to itself


def _shown(path: Path) -> str:
    return os.path.relpath(path.absolute())
