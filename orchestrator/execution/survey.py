"""Read the migration history of every selected database. Never writes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from orchestrator.engines.base import Glancing
from orchestrator.errors import ConflictError, ConnectError, DatabaseMissingError, LockError
from orchestrator.events import Failure, LockWaiting
from orchestrator.execution.run import Run, lock_wait
from orchestrator.execution.scheduler import walk
from orchestrator.hints import Command, Hint
from orchestrator.model import History, LockHolder, ReadOnly
from orchestrator.planning.history import State
from orchestrator.planning.problems import Kind
from orchestrator.planning.surveys import States, Survey
from orchestrator.records import replace

TRY_EVERY = 0.25  # seconds


def survey(run: Run, *, keep: bool = False, reads: bool = False, whole: bool = False) -> dict[str, Survey]:
    """Read the migration history of each database of the run, several at a time.

    Args:
        run: the selected databases, their targets and limits.
        keep: the caller executes the plan immediately. This keeps the connection of each database that has pending
            migrations, and waits (up to the lock timeout) while golang-migrate is running a file.
        reads: the caller only reads. Otherwise a database that accepts no writes, such as a standby, is a failure.
        whole: the caller needs the attempts of the histories, not only the states that follow from them.

    Returns:
        One entry for each database id. A database that could not be read has a `failure`; it never stops the others.
    """
    surveyor = _Surveyor(run, keep=keep, reads=reads, whole=whole)
    with run.timings.stage("survey"):
        walk(
            dict.fromkeys(run.databases, ()),
            surveyor.look,
            server_of=run.server_of,
            jobs=run.jobs,
            jobs_per_server=run.jobs_per_server,
            stop=run.stop,
            abandon=True,  # it only reads; and a server that does not answer is what people interrupt
        )
    surveys = surveyor.surveys()
    return surveys | _twins(surveys)


class _Surveyor:
    """Reads histories, one database at a time in each thread. `States` is shared: databases that are alike are one kind."""

    def __init__(self, run: Run, *, keep: bool, reads: bool, whole: bool) -> None:
        self._run, self._keep, self._reads, self._whole = run, keep, reads, whole
        self._found: dict[str, Survey] = {}
        self._down: dict[str, Failure] = {}
        self._states = States()
        # Checked once for each engine: isinstance with a protocol takes as long as reading a small history.
        self._glancing = {name: one if isinstance(one, Glancing) else None for name, one in run.engines.items()}

    def surveys(self) -> dict[str, Survey]:
        """Return what was found, in the order of the run; a database whose turn did not come has a failure."""
        stopped = Failure("interrupted", 130, "stopped before it was read")
        return {id: self._found.get(id) or self._survey(id, failure=stopped) for id in self._run.databases}

    def look(self, id: str) -> bool:
        """Read one database and keep what was found. Return True: one that cannot be read stops no other."""
        run, target = self._run, self._run.targets[id]
        if failure := self._down.get(target.server_key):  # one time-out serves for all databases of the server
            self._found[id] = self._survey(id, failure=failure)
            return True
        try:
            self._found[id] = self._ready(id)
        except Exception as error:  # noqa: BLE001 - one database's trouble is data, whatever it is
            self._found[id] = self._survey(id, failure=Failure.of(error, run.redact))
            if isinstance(error, ConnectError) and error.server_down:
                self._down[target.server_key] = Failure.of(error, run.redact)
        return True

    def _ready(self, id: str) -> Survey:
        try:
            return self._run.when_ready(id, lambda: self._read(id))
        except DatabaseMissingError as missing:
            self._refuse_read_only(missing.read_only)
            return self._folded(id, History(exists=False))

    def _read(self, id: str) -> Survey:
        run, target, extensions = self._run, self._run.targets[id], self._run.databases[id].create.extensions
        started = time.monotonic()
        engine, glancing = run.engines[target.engine], self._glancing[target.engine]
        if glancing and (seen := glancing.glance(target, extensions, whose_lock=not self._keep)):
            found = self._folded(id, *seen)
            worth_keeping = found.state.pending and glancing.keeps(target)
            if not (self._keep and (worth_keeping or _dirty(found.state))):
                return found
        with engine.connect(target, run.until) as session:
            run.timings.add("  connect, to look", started)
            if not self._keep:
                history, holder = session.look(extensions)
                self._refuse_read_only(history.read_only)
                return self._folded(id, history, holder)
            history = session.read_history(extensions)
            self._refuse_read_only(history.read_only)
            found = self._folded(id, history)
            deadline = time.monotonic() + lock_wait(target, run.lock_timeout)
            while _dirty(found.state) and (holder := session.holder()) and not run.stop.is_set():
                if time.monotonic() >= deadline:
                    raise LockError(
                        f"{id} is locked by {holder.description}, in the middle of a migration",
                        hint=Hint("wait for its end, or raise --lock-timeout; if it is dead: ", Command("unlock", id)),
                    )
                run.sink(LockWaiting(id, holder.description))
                run.stop.wait(TRY_EVERY)
                found = self._folded(id, session.read_history(extensions))
            if found.state.pending:
                session.keep()
            return found

    def _refuse_read_only(self, why: ReadOnly | None) -> None:
        if why and not self._reads:
            raise ConnectError(why.what, hint=why.hint)

    def _folded(self, id: str, history: History, holder: LockHolder | None = None) -> Survey:
        state, base = self._states.of(self._run.databases[id], self._run.catalogs[id], history)
        kept = history if self._whole or not history.attempts else history._replace(attempts=())
        return self._survey(id, history=kept, holder=holder, state=state, base=base)

    def _survey(self, id: str, **facts: Any) -> Survey:
        target = self._run.targets[id]
        may_create = target.scratch or self._run.databases[id].settings.create
        return Survey(target.endpoint, name=target.database, may_create=may_create, **facts)


def _twins(surveys: Mapping[str, Survey]) -> dict[str, Survey]:
    """Return failures for entries of the manifest that turn out to be the same database under two server names."""
    places: dict[str, list[str]] = {}
    for id, survey in surveys.items():
        if survey.failure is None and survey.history.place:
            places.setdefault(survey.history.place, []).append(id)
    failures = {}
    for ids in places.values():
        for id in ids if len(ids) > 1 else ():
            error = one_database({one: surveys[one].endpoint for one in ids})
            failures[id] = replace(surveys[id], failure=Failure.of(error, str))
    return failures


def one_database(endpoints: Mapping[str, str]) -> ConflictError:
    """Return the error for entries of the manifest, with their endpoints, that have one version table of one database."""
    return ConflictError(
        f"{' and '.join(endpoints)} are one database, and have one version table",
        detail=" and ".join(f"{id} is at {endpoint}" for id, endpoint in endpoints.items()),
        hint="remove one of the entries from the manifest; "
        "two sets of migrations in one database need version tables of their own (x-migrations-table in the DSN)",
    )


def _dirty(state: State) -> bool:
    """Whether golang-migrate is running a file, or stopped in the middle of one."""
    return any(problem.kind is Kind.DIRTY for problem in state.problems)
