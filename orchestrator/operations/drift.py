"""Is a database still what its migrations made it? Compare it with a scratch database, or with what was kept of it.

First, read the history and the schema. If the files of all applied versions are there, and they are what ran, a scratch
database is brought to the same version, once for all databases with the same files, and both are compared. Where no
scratch database may be made, the schema snapshot that the last apply kept takes its place. A database that has neither
is held against the members of its fleet: databases with the same files at the same version.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from orchestrator.analysis.drift import Drift, checksum, compare, packed, unpacked
from orchestrator.engines.base import Reach, Session
from orchestrator.errors import DatabaseMissingError, ExitCode, OrchError, exit_code_of
from orchestrator.events import Failure, Sink
from orchestrator.execution.drift import against_kept, keep_or_raise, refusal
from orchestrator.execution.run import Run, lock_wait
from orchestrator.execution.scheduler import walk
from orchestrator.hints import Command, Hint
from orchestrator.model import Direction, History, Migration, Origin, SchemaSnapshot
from orchestrator.operations.scope import Scope
from orchestrator.planning.attempts import latest_effective
from orchestrator.planning.history import State, reconcile
from orchestrator.planning.plan import Plan
from orchestrator.planning.problems import Kind
from orchestrator.scratch.confine import UP, reaching
from orchestrator.scratch.verify import Verifier

FILES, KEPT, FLEET = "files", "kept", "fleet"
_MIN_FLEET = 3


@dataclass(frozen=True, slots=True)
class Looked:
    """What is known of one database.

    `against` is what it was compared with: `files` (a scratch database), `kept` (the schema snapshot of the last apply),
    `fleet` (most databases with the same files), or '' with the reason in `unknown`. `instead` says why it was not the files.
    """

    database: str
    version: int | None = None
    against: str = ""
    drift: Drift = field(default_factory=Drift)
    unknown: str = ""
    instead: str = ""
    failure: Failure | None = None
    fleet: str = ""

    @property
    def state(self) -> str:
        """`same`, `drift`, `unknown` or `failed`."""
        if self.failure:
            return "failed"
        if self.unknown:
            return "unknown"
        return "drift" if self.drift.differences else "same"


@dataclass(frozen=True, slots=True)
class Report:
    """All databases, and the exit code."""

    databases: tuple[Looked, ...]

    @property
    def exit_code(self) -> int:
        """0: no drift, 3: drift, 7 or another code where a database could not be looked at."""
        failed = exit_code_of(one.failure.exit_code for one in self.databases if one.failure)
        if failed:
            return failed
        return int(ExitCode.CHANGES if any(one.state == "drift" for one in self.databases) else ExitCode.DONE)


class Looker:
    """Looks at the databases of one run, several at the same time."""

    def __init__(self, run: Run, *, kept: bool = False) -> None:
        """`kept`: no scratch database is made."""
        self._run = run
        self._kept_only = kept
        self._mutex = threading.Lock()
        self._built: dict[tuple[object, ...], SchemaSnapshot | str] = {}
        self._building: dict[tuple[object, ...], threading.Lock] = {}
        self._fleets: dict[str, dict[str, tuple[str, bytes]]] = {}

    def look(self) -> Report:
        """Return what became of every database. Changes none of them."""
        run = self._run
        found: dict[str, Looked] = {}

        def one(id: str) -> bool:
            try:
                found[id] = self._database(id)
            except DatabaseMissingError:
                found[id] = Looked(id, unknown="it does not exist")
            except Exception as error:  # noqa: BLE001 - one database's trouble is data, whatever it is
                found[id] = Looked(id, failure=Failure.of(error, run.redact))
            return True

        walk(
            dict.fromkeys(run.databases, ()),
            one,
            server_of=run.server_of,
            jobs=run.jobs,
            jobs_per_server=run.jobs_per_server,
            stop=run.stop,
        )
        stopped = Failure("interrupted", int(ExitCode.INTERRUPTED), "stopped before it was looked at")
        all_found = [found.get(id, Looked(id, failure=stopped)) for id in run.databases]
        return Report(tuple(self._redacted(self._with_fleet(one)) for one in all_found))

    def _redacted(self, one: Looked) -> Looked:
        """Return the same without secrets: definitions may hold the password of a server or of a function."""
        redact = self._run.redact
        differences = tuple(
            replace(each, name=redact(each.name), expected=redact(each.expected), found=redact(each.found))
            for each in one.drift.differences
        )
        drift = replace(one.drift, differences=differences, notes=tuple(map(redact, one.drift.notes)))
        return replace(one, drift=drift, unknown=redact(one.unknown), instead=redact(one.instead))

    def _database(self, id: str) -> Looked:
        run = self._run
        target, database = run.targets[id], run.databases[id]
        ignore = database.settings.drift_ignore
        with run.engines[target.engine].connect(target) as session:
            history = session.read_history()
            if not history.exists:
                return Looked(id, unknown="it does not exist")
            state = reconcile(run.catalogs[id], history, out_of_order=True)
            found = session.schema_snapshot()
            server = session.server()
            fleet = f"{server} {database.directory} {state.version}"
            with self._mutex:
                self._fleets.setdefault(fleet, {})[id] = (checksum(found), packed(found))
            base = Looked(id, state.version, fleet=fleet)
            if state.version is None:
                return replace(base, unknown="no migration is applied")
            instead = "asked for with --kept" if self._kept_only else _not_of_files(history, state)
            if not instead:
                expected = self._of_files(id, state, server)
                if not isinstance(expected, str):
                    return replace(base, against=FILES, drift=compare(expected, found, ignore))
                instead = expected
            return _with_kept(replace(base, instead=instead), session, ignore)

    def _of_files(self, id: str, state: State, server: str) -> SchemaSnapshot | str:
        """Return the schema that the files yield at this version, or why that is not known. Made once for all that share it."""
        run = self._run
        versions = set(state.applied)
        migrations = tuple(one for one in run.catalogs[id] if one.version in versions)
        files = tuple((one.version, one.up.checksum if one.up else "") for one in migrations)
        key = (run.targets[id].server_key, server, run.databases[id].directory, run.databases[id].create, files)
        with self._mutex:
            building = self._building.setdefault(key, threading.Lock())
        with building:
            if key not in self._built:
                self._built[key] = self._build(id, migrations, state.version or 0)
            return self._built[key]

    def _build(self, id: str, migrations: tuple[Migration, ...], version: int) -> SchemaSnapshot | str:
        run = replace(self._run, catalogs={**self._run.catalogs, id: migrations}, sink=lambda _: None)
        try:
            for migration, finding in reaching(run, id, run.catalogs[id], UP, id):
                if finding.reach is not Reach.MAY:
                    return f"version {migration.version} reaches beyond the database: {finding.what}"
            with Verifier(run).scratch(id, run.catalogs[id]) as scratch:
                scratch.create()
                scratch.go(Direction.UP, version)
                return scratch.schema_snapshot()
        except Exception as error:  # noqa: BLE001 - whatever it is, the kept snapshot takes its place
            failure = getattr(error, "failure", None) or Failure.of(error, run.redact)
            return f"no scratch database: {failure.what}"

    def _with_fleet(self, one: Looked) -> Looked:
        """Hold a database of which nothing else is known against most databases with the same files at the same version."""
        members = self._fleets.get(one.fleet, {})
        if one.state != "unknown" or len(members) < _MIN_FLEET or one.database not in members:
            return one
        sums = {id: known for id, (known, _) in members.items()}
        (most, count), *_ = Counter(sums.values()).most_common(1)
        if count * 2 <= len(members):
            return one
        model = next(data for known, data in members.values() if known == most)
        drift = compare(
            unpacked(model), unpacked(members[one.database][1]), self._run.databases[one.database].settings.drift_ignore
        )
        instead = "; ".join(filter(None, (one.instead, one.unknown)))
        return replace(one, against=FLEET, unknown="", instead=instead, drift=drift)


def _not_of_files(history: History, state: State) -> str:
    """Return why the files here cannot tell how the database should look; '' if they can."""
    if state.partial is not None or state.dirty:
        return "a migration is half done"
    if state.adopt or state.forget:
        return "golang-migrate ran since"
    latest = latest_effective(history.attempts)
    if any(latest[v].origin in (Origin.ADOPTED, Origin.BASELINE, Origin.MARKED) for v in state.applied if v in latest):
        return "it is adopted: orch did not run all of its migrations"
    for problem in state.problems:
        if problem.kind in (Kind.EDITED, Kind.MISSING, Kind.RENUMBERED, Kind.SQUASHED):
            return problem.what
    return ""


def _with_kept(looked: Looked, session: Session, ignore: Sequence[str]) -> Looked:
    verdict = against_kept(session, ignore)
    if verdict.unknown:
        return replace(looked, unknown=verdict.unknown)
    return replace(looked, against=KEPT, drift=verdict.drift)


def look(scope: Scope, sink: Sink, *, kept: bool = False) -> Report:
    """Compare each database with its files, or with `kept` with the schema snapshot of its last apply. Changes none of them.

    InvalidError and UsageError for a manifest, options, files or DSNs that are wrong.
    """
    return Looker(scope.run(scope.assemble(), sink), kept=kept).look()


def accept_all(scope: Scope, sink: Sink) -> dict[str, Failure | None]:
    """Keep how each database looks now: from here on it is compared with that. Return why not, or None, by id.

    One that cannot be accepted does not stop the others. InvalidError and UsageError as `look`.
    """
    run = scope.run(scope.assemble(), sink)
    outcome: dict[str, Failure | None] = {}
    for id in run.databases:
        outcome[id] = None
        try:
            _accept(run, id)
        except Exception as error:  # noqa: BLE001 - one database's trouble is data, whatever it is
            outcome[id] = Failure.of(error, run.redact)
    return outcome


def _accept(run: Run, id: str) -> None:
    target = run.targets[id]
    with (
        run.engines[target.engine].connect(target) as session,
        session.lock(lock_wait(target, run.lock_timeout), lambda _: None),
    ):
        history = session.read_history()
        if not history.exists:
            raise DatabaseMissingError(f"{id} does not exist yet", hint=Hint(Command("apply", "--only", id)))
        keep_or_raise(session, reconcile(run.catalogs[id], history, out_of_order=True).version)


def guard(run: Run, plan: Plan) -> Plan:
    """Return the plan with what somebody changed since the last apply: as notes, or as failures where drift is refuse.

    Asked only of databases with steps and with drift: warn or refuse; nothing is changed on any of them.
    """
    databases = []
    for planned in plan.databases:
        if planned.failure or planned.create or not planned.steps:  # one that failed may be no database of the run
            databases.append(planned)
            continue
        settings = run.databases[planned.id].settings
        if settings.drift == "off":
            databases.append(planned)
            continue
        target = run.targets[planned.id]
        try:
            with run.engines[target.engine].connect(target) as session:
                verdict = against_kept(session, settings.drift_ignore, strict=settings.drift == "refuse")
                session.keep()
        except OrchError as error:
            databases.append(replace(planned, failure=Failure.of(error, run.redact)))
            continue
        notes = [*verdict.drift.notes, *([f"drift is unknown: {verdict.unknown}"] if verdict.unknown else [])]
        if count := len(verdict.drift.differences):
            changed = refusal(planned.id, verdict.drift)
            if settings.drift == "refuse":
                databases.append(replace(planned, failure=Failure.of(changed, run.redact)))
                continue
            notes.append(f"{changed.what} ({count:,} in all); see: {Command('drift', planned.id)}")
        databases.append(replace(planned, notes=(*planned.notes, *map(run.redact, notes))))
    return replace(plan, databases=tuple(databases))
