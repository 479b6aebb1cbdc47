"""What a Dask worker does for `orch apply --engine dask`: it migrates one database, by the same code as a local run.

The worker reads its own manifest, files and variables, which must be those of the client. What it gets is the plan of the
database and the names of the members of fleets; what it gives is plain data. No DSN and no secret goes through the scheduler
in either direction.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.errors import StalePlanError
from orchestrator.events import Event, Failure, Sink, StepFinished, Stopping
from orchestrator.execution.one_database import failure_of, migrate_here, was_interrupted
from orchestrator.execution.run import Run
from orchestrator.execution.sessions import Sessions
from orchestrator.execution.timings import Spent
from orchestrator.manifest.for_each import Answer as MembersAnswer
from orchestrator.manifest.redact import redactor
from orchestrator.model import Database, Direction
from orchestrator.operations.apply import for_its_server
from orchestrator.operations.assembly import Assembly
from orchestrator.operations.fingerprint import check_files, check_migrations
from orchestrator.operations.load import assemble
from orchestrator.operations.plan import bootstrapped
from orchestrator.planning.plan import DatabasePlan, Plan
from orchestrator.records import NamedTuple

TOPIC = "orch"
"""Where workers tell their events. One topic for all runs: the scheduler keeps what it heard on each for ever."""
_KEPT = 4  # runs whose manifest stays read


class Order(NamedTuple):
    """What all databases of a run have in common. Paths are those on the client; `wait` and `lock_timeout` are seconds.

    `files` has the digests of the manifest and of the files of members (`fingerprint.files_of`). `members` has the answers to
    the queries of fleets (`fleets.handed_over`); None if the worker has them already.
    """

    run_id: str
    actor: str
    files: Mapping[str, str]
    members: Mapping[int, MembersAnswer | None] | None
    file: str
    env_file: str | None
    only: tuple[str, ...] | None
    exclude: tuple[str, ...]
    no_deps: bool
    create: bool
    late: bool
    wait: float
    lock_timeout: float | None


class Answer(NamedTuple):
    """What became of one database on a worker. `finished` are all steps that were made, in case an event got lost.

    `lacks_members`: nothing was done, because the worker has not been told the members of the fleets. `unable` is the address
    of a worker that cannot execute the plan, which `failure` says why: it has touched no server. `stages` is where the time
    went.
    """

    version: int | None = None
    applied: int = 0
    finished: tuple[StepFinished, ...] = ()
    interrupted: bool = False
    failure: Failure | None = None
    lacks_members: bool = False
    unable: str = ""
    stages: Mapping[str, Spent] = {}


class Told(NamedTuple):
    """An event on its way to the client; without an event, that the database begins on this worker."""

    run_id: str
    database: str
    worker: str
    event: Event | None


@dataclass
class _Here:
    """A run, as this worker knows it: its manifest and databases."""

    assembly: Assembly
    databases: Mapping[str, Database]
    places: dict[str, str] = field(default_factory=dict)


_runs: dict[str, _Here] = {}
_at_work: dict[Sessions, tuple[str, Run]] = {}
_stopped: dict[str, int] = {}  # run id → 1 if nothing new begins, 2 if what runs is cancelled too
_mutex = threading.Lock()
_closing = threading.Lock()
"""Held while connections are closed that databases of a run share: none may begin meanwhile."""
_reading = threading.Lock()


class _LacksMembersError(Exception):
    """The worker has not been told the members of the fleets."""


def examine(
    order: Order, kinds: Sequence[tuple[DatabasePlan, str]], servers: Mapping[str, tuple[str, str, str]]
) -> Failure | None:
    """Return why this worker cannot execute a plan, or None. Only reads.

    `kinds` are databases of the plan, one of those that have the same work, each with the digest of its migrations;
    `servers` has engine, name and endpoint of all.
    """
    try:
        here = _here(order)
        run = _run_of(here, order, [one for id, one in here.databases.items() if id in servers], lambda _event: None)
        for id, (engine, name, endpoint) in servers.items():
            if failure := for_its_server(DatabasePlan(id, engine, name, endpoint), run).failure:
                return failure
        for planned, migrations in kinds:
            check_migrations(planned, run.databases[planned.id].directory, run.catalogs[planned.id], migrations)
    except Exception as error:  # noqa: BLE001 - whatever it is, the client says it
        return next(iter(Failure.all_of(error, redactor)))
    return None


def migrate(order: Order, planned: DatabasePlan, migrations: str) -> Answer:
    """Migrate one database as planned, and return what became of it; never raises.

    `migrations` is the digest of its directory on the client.
    """
    from distributed import get_worker

    worker = get_worker()
    finished: list[StepFinished] = []

    def tell(event: Event | None) -> None:
        if isinstance(event, StepFinished):
            finished.append(event)
        if not isinstance(event, Stopping):  # the client tells that itself
            worker.log_event(TOPIC, pickle.dumps(Told(order.run_id, planned.id, worker.address, event)))

    try:
        run = _run_for(_here(order), order, planned, migrations, tell)
    except _LacksMembersError:
        return Answer(lacks_members=True)
    except Exception as error:  # noqa: BLE001 - of the manifest, files or variables of this worker
        failure = Failure.of(error, redactor)
        failure = replace(failure, what=f"the Dask worker {worker.address}: {failure.what}")
        return Answer(failure=failure, unable=worker.address)
    tell(None)
    return _migrate(run, order, planned, finished)


def stop(run_id: str, *, now: bool) -> None:
    """Begin no further migration of a run; `now`: cancel what runs. May be called again, and before a database begins."""
    with _mutex:
        _stopped[run_id] = max(_stopped.get(run_id, 0), 2 if now else 1)
        running = {sessions: run for sessions, (id, run) in _at_work.items() if id == run_id}
    # Cancelling connects to the server: the caller is the worker's event loop, which must not wait for that.
    for sessions, run in running.items():
        threading.Thread(target=_stop, args=(sessions, run, now), daemon=True).start()


def _stop(sessions: Sessions, run: Run, now: bool) -> None:
    if not run.stop.is_set():
        sessions.stop()
    if now and not run.cancelled.is_set():
        sessions.stop()


def _run_for(here: _Here, order: Order, planned: DatabasePlan, migrations: str, tell: Sink) -> Run:
    """Return the run that migrates one database. Raises why this worker cannot execute its plan. Asks no server."""
    run = _run_of(here, order, [one for one in (here.databases.get(planned.id),) if one], tell)
    if failure := for_its_server(planned, run).failure:
        raise StalePlanError(failure.what, hint=failure.hint)
    check_migrations(planned, run.databases[planned.id].directory, run.catalogs[planned.id], migrations)
    return bootstrapped(run, Plan(Direction.UP, (planned,)))


def _migrate(run: Run, order: Order, planned: DatabasePlan, finished: list[StepFinished]) -> Answer:
    sessions = Sessions(run)
    with _stoppable(order.run_id, sessions, run):
        try:
            migrated = migrate_here(run, sessions, planned)
        except Exception as error:  # noqa: BLE001 - one database's trouble is data, whatever it is
            interrupted = was_interrupted(run, error)
            failure = None if interrupted else failure_of(run, error)
            return Answer(None, len(finished), tuple(finished), interrupted, failure, stages=run.timings.stages)
    return Answer(migrated.version, migrated.applied, tuple(finished), stages=run.timings.stages)


@contextmanager
def _stoppable(run_id: str, sessions: Sessions, run: Run) -> Iterator[None]:
    """Have `stop` reach these sessions, also if it came before. The last one closes the connections that engines keep."""
    with _closing, _mutex:
        _at_work[sessions] = run_id, run
        stopped = _stopped.get(run_id, 0)
    if stopped:
        _stop(sessions, run, now=stopped > 1)
    try:
        yield
    finally:
        with _closing:
            with _mutex:
                del _at_work[sessions]
                last = not any(id == run_id for id, _ in _at_work.values())
            if last:
                run.close()


def _here(order: Order) -> _Here:
    """Return what this worker knows of a run; its first database reads the manifest. Raises what is wrong with that."""
    with _reading:
        if (here := _runs.get(order.run_id)) is None:
            if order.members is None:
                raise _LacksMembersError
            file = os.environ.get("ORCH_FILE") or order.file
            check_files(Path(file), order.files)
            assembly = assemble(
                file,
                order.env_file,
                order.only,
                order.exclude,
                no_deps=order.no_deps,
                wait=order.wait,
                answers=order.members,
            )
            assembly.permit(create=order.create, late=order.late)
            for engine in assembly.engines.values():
                engine.close()
            assembly = replace(assembly, run_id=order.run_id, actor=order.actor, engines={}, notes=(), later=())
            here = _Here(assembly, {one.id: one for one in assembly.databases})
            _runs[order.run_id] = here
            for old in list(_runs)[:-_KEPT]:
                del _runs[old]
        return here


def _run_of(here: _Here, order: Order, databases: Sequence[Database], sink: Sink) -> Run:
    """Return a run over some of the databases. Their files are read now."""
    part = replace(here.assembly, databases=tuple(databases))
    return replace(part.run(sink, wait=order.wait, lock_timeout=order.lock_timeout), places=here.places)
