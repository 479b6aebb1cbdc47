"""Read the migration history of every selected database. Never writes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from orchestrator.errors import ConflictError, ConnectError, DatabaseMissingError, LockError
from orchestrator.events import Failure, LockWaiting
from orchestrator.execution.run import Run, lock_wait
from orchestrator.execution.scheduler import walk
from orchestrator.hints import Command, Hint
from orchestrator.model import History, ReadOnly
from orchestrator.planning.history import State, reconcile
from orchestrator.planning.problems import Kind
from orchestrator.planning.surveys import Survey

TRY_EVERY = 0.25  # seconds


def survey(run: Run, *, keep: bool = False, reads: bool = False) -> dict[str, Survey]:
    """Read the migration history of each database of the run, several at a time.

    Args:
        run: the selected databases, their targets and limits.
        keep: the caller executes the plan immediately. This keeps the connection of each database that has pending
            migrations, and waits (up to the lock timeout) while golang-migrate is running a file.
        reads: the caller only reads. Otherwise a database that accepts no writes, such as a standby, is a failure.

    Returns:
        One entry for each database id. A database that could not be read has a `failure`; it never stops the others.
    """
    found: dict[str, Survey] = {}
    down: dict[str, Failure] = {}

    def look(id: str) -> bool:
        target, database = run.targets[id], run.databases[id]

        if failure := down.get(target.server_key):  # one time-out serves for all databases of the server
            found[id] = Survey(target.endpoint, failure=failure)
            return True

        def read() -> Survey:
            with run.engines[target.engine].connect(target, run.until) as session:
                if not keep:
                    history, holder = session.look(database.create.extensions)
                    refuse_read_only(history.read_only)
                    return Survey(target.endpoint, history, holder=holder)
                history = session.read_history(database.create.extensions)
                refuse_read_only(history.read_only)
                state = reconcile(run.catalogs[id], history)
                deadline = time.monotonic() + lock_wait(target, run.lock_timeout)
                while _dirty(state) and (holder := session.holder()) and not run.stop.is_set():
                    if time.monotonic() >= deadline:
                        raise LockError(
                            f"{id} is locked by {holder.description}, in the middle of a migration",
                            hint=Hint(
                                "wait for its end, or raise --lock-timeout; if it is dead: ", Command("unlock", id)
                            ),
                        )
                    run.sink(LockWaiting(id, holder.description))
                    run.stop.wait(TRY_EVERY)
                    history = session.read_history(database.create.extensions)
                    state = reconcile(run.catalogs[id], history)
                if state.pending:
                    session.keep()
                return Survey(target.endpoint, history)

        def refuse_read_only(why: ReadOnly | None) -> None:
            if why and not reads:
                raise ConnectError(why.what, hint=why.hint)

        def ready() -> Survey:
            try:
                return run.when_ready(id, read)
            except DatabaseMissingError as missing:
                refuse_read_only(missing.read_only)
                return Survey(target.endpoint, History(exists=False))

        try:
            found[id] = ready()
        except Exception as error:  # noqa: BLE001 - one database's trouble is data, whatever it is
            found[id] = Survey(target.endpoint, failure=Failure.of(error, run.redact))
            if isinstance(error, ConnectError) and error.server_down:
                down[target.server_key] = Failure.of(error, run.redact)
        return True

    walk(
        dict.fromkeys(run.databases, ()),
        look,
        server_of=run.server_of,
        jobs=run.jobs,
        jobs_per_server=run.jobs_per_server,
        stop=run.stop,
        abandon=True,  # it only reads; and a server that does not answer is what people interrupt
    )
    stopped = Failure("interrupted", 130, "stopped before it was read")
    surveys = {
        id: replace(
            found.get(id) or Survey(target.endpoint, failure=stopped),
            name=target.database,
            may_create=target.scratch or run.databases[id].settings.create,
        )
        for id, target in ((id, run.targets[id]) for id in run.databases)
    }
    return surveys | _twins(surveys)


def _twins(surveys: Mapping[str, Survey]) -> dict[str, Survey]:
    """Return failures for entries of the manifest that turn out to be the same database under two server names."""
    places: dict[str, list[str]] = {}
    for id, survey in surveys.items():
        if survey.failure is None and survey.history.place:
            places.setdefault(survey.history.place, []).append(id)
    failures = {}
    for ids in places.values():
        for id in ids if len(ids) > 1 else ():
            error = ConflictError(
                f"{' and '.join(ids)} are one database, and have one version table",
                detail=" and ".join(f"{one} is at {surveys[one].endpoint}" for one in ids),
                hint="remove one of the entries from the manifest; "
                "two sets of migrations in one database need version tables of their own (x-migrations-table in the DSN)",
            )
            failures[id] = replace(surveys[id], failure=Failure.of(error, str))
    return failures


def _dirty(state: State) -> bool:
    """Whether golang-migrate is running a file, or stopped in the middle of one."""
    return any(problem.kind is Kind.DIRTY for problem in state.problems)
