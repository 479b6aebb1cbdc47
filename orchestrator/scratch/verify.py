"""Check in a scratch database that each down file undoes its up file. The real database is never touched.

First, make a scratch database beside the real one, named as a clone, so that it is found if this process is killed. Then
take every migration, from the first: up, by the road of `orch apply`; look at the schema; down; the schema must be what
it was before; up again; it must be what it was after the first up. After a difference the scratch database is not what
the next migration expects: go on in a new one, brought to the same version.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from orchestrator.engines.base import Reach
from orchestrator.errors import ExitCode, InterruptedRunError, InvalidError, InvalidGroup, OrchError, exit_code_of
from orchestrator.events import (
    DatabaseFailed,
    DatabaseFinished,
    DatabaseSkipped,
    DatabaseStarted,
    Failure,
    Notice,
    RunFinished,
    RunStarted,
    Stopping,
    Verified,
)
from orchestrator.execution.executor import Executor
from orchestrator.execution.run import Run
from orchestrator.execution.scheduler import walk
from orchestrator.hints import Command, Hint
from orchestrator.model import Direction, Migration
from orchestrator.scratch.clone_names import clone_name
from orchestrator.scratch.clones import Cloner
from orchestrator.scratch.confine import BOTH, confined, reaching
from orchestrator.scratch.round_trip import round_trip
from orchestrator.scratch.scratch_database import ScratchDatabase, StepError


class Verifier:
    """Verifies the databases of one run, several at the same time."""

    def __init__(self, run: Run, since: int = 0) -> None:
        """`since`: the first version to verify; those before it only go up."""
        self._run = run
        self._since = since
        self._cloner = Cloner(run)
        self._working: set[Executor] = set()
        self._mutex = threading.RLock()  # a signal's handler may come while its own thread holds it
        self._codes: set[int] = set()
        self._stopped: list[str] = []

    @property
    def asked(self) -> int:
        """How many migrations are to be verified."""
        return sum(len(self._asked(self._run.catalogs[id])) for id in self._run.databases)

    def verify(self) -> RunFinished:
        """Try everything and return the last event, which holds the exit code. InvalidGroup for files that do not parse."""
        run = self._run
        left_out = self._left_out()
        run.sink(RunStarted(run.run_id, tuple(run.databases), self.asked))
        walked = walk(
            dict.fromkeys(run.databases, ()),
            lambda id: self._database(id, left_out[id]),
            server_of=run.server_of,
            jobs=run.jobs,
            jobs_per_server=run.jobs_per_server,
            stop=run.stop,
        )
        skipped = (*self._stopped, *walked.skipped)
        for id in skipped:
            run.sink(DatabaseSkipped(id))
        finished = RunFinished(
            run.run_id,
            time.monotonic() - run.started,
            int(ExitCode.INTERRUPTED) if skipped else exit_code_of(self._codes),
            tuple(walked.done),
            tuple(id for id in walked.failed if id not in self._stopped),
            skipped=skipped,
        )
        run.sink(finished)
        return finished

    def stop(self) -> None:
        """End what runs, and begin nothing new: nobody needs what is in a scratch database."""
        self._run.stop.set()
        self._run.sink(Stopping(now=True))
        with self._mutex:
            working = list(self._working)
        for executor in working:
            executor.stop()

    def _left_out(self) -> dict[str, dict[int, str]]:
        """Read all files; return the versions that a scratch database cannot hold, with the reason."""
        found: dict[str, dict[int, str]] = {id: {} for id in self._run.databases}
        invalid: list[InvalidError] = []
        for id in self._run.databases:
            try:
                for migration, finding in reaching(
                    self._run, id, self._run.catalogs[id], BOTH, clone_name(os.getpid())
                ):
                    if finding.reach is not Reach.MAY:
                        found[id].setdefault(migration.version, f"{finding.where}: {finding.what}")
            except InvalidGroup as group:
                invalid.extend(group.errors)
            except InvalidError as error:
                invalid.append(error)
        InvalidGroup.raise_if(invalid)
        for id, migrations in self._run.catalogs.items():
            found[id] |= {one.version: "as `orch new` wrote it" for one in migrations if one.unwritten}
        return found

    def _database(self, id: str, left_out: dict[int, str]) -> bool:
        """Verify one database. Returns whether it is as it should be; never raises."""
        run = self._run
        started = time.monotonic()
        migrations = [m for m in run.catalogs[id] if m.version not in left_out]
        asked = self._asked(migrations)
        run.sink(DatabaseStarted(id, len(asked)))
        for migration in self._asked(run.catalogs[id]):
            if reason := left_out.get(migration.version):
                run.sink(Verified(id, migration.version, migration.name, 0.0, left_out=reason))
        good = True
        try:
            self._cloner.drop_left_behind([id])
            for verified in self._migrations(id, migrations):
                verified = self._accepted(verified)
                run.sink(verified)
                if verified.failure:
                    good = False
                    self._codes.add(verified.failure.exit_code)
        except InterruptedRunError:
            self._stopped.append(id)
            return False
        except Exception as error:  # noqa: BLE001 - one database's trouble is data, whatever it is
            failure = error.failure if isinstance(error, StepError) else Failure.of(error, run.redact)
            self._codes.add(failure.exit_code)
            run.sink(DatabaseFailed(id, failure))
            return False
        if good:
            last = migrations[-1].version if migrations else None
            run.sink(DatabaseFinished(id, last, len(asked), time.monotonic() - started))
        return good

    def _asked(self, migrations: Sequence[Migration]) -> list[Migration]:
        return [migration for migration in migrations if migration.version >= self._since]

    def _accepted(self, verified: Verified) -> Verified:
        """Return what was found, and not as a failure if the manifest accepts it; say what it accepts in vain."""
        id, failure = verified.database, verified.failure
        accepted = [one for one in self._run.databases[id].accepted if one.version == verified.version]
        if failure is None:
            if accepted and not verified.left_out:
                what = f"the manifest accepts a finding in version {verified.version}, and there is none"
                self._run.sink(Notice(id, f"{what}: it can be removed from 'verify: accept:'"))
            return verified
        if any(one.finding in ("", failure.what) for one in accepted):
            return verified._replace(failure=None, left_out=f"accepted: {failure.what}")
        if failure.kind == "difference" and not failure.hint:
            line = f"{{version: {verified.version}, finding: {json.dumps(failure.what, ensure_ascii=False)}}}"
            failure = replace(failure, hint=f"to accept it, add to {id} in the manifest: verify: {{accept: [{line}]}}")
        return verified._replace(failure=failure)

    def _migrations(self, id: str, migrations: Sequence[Migration]) -> Iterator[Verified]:
        """Try the migrations one after the other, in as many scratch databases as that takes."""
        done = len(migrations) - len(self._asked(migrations))
        while done < len(migrations):
            with self.scratch(id, migrations) as scratch:
                scratch.create()
                if done:
                    scratch.go(Direction.UP, migrations[done - 1].version)
                before = scratch.schema_snapshot()
                usable = True
                while usable and done < len(migrations):
                    migration = migrations[done]
                    started = time.monotonic()
                    tried = round_trip(scratch, migration, before)
                    before, usable = tried.after, tried.usable
                    done += 1
                    seconds = time.monotonic() - started
                    yield Verified(id, migration.version, migration.name, seconds, tried.failure)
                    if not tried.went_up:
                        reason = f"version {migration.version}, before it, fails"
                        for left in migrations[done:]:
                            yield Verified(id, left.version, left.name, 0.0, left_out=reason)
                        return

    @contextmanager
    def scratch(self, id: str, migrations: Sequence[Migration]) -> Iterator[ScratchDatabase]:
        """Lend a scratch database, and drop it."""
        name = clone_name(os.getpid())
        run = confined(self._run, id, name, migrations, BOTH)
        try:
            yield ScratchDatabase(run, id, self.working)
        finally:
            try:
                self._cloner.drop(id, name)
            except OrchError as error:
                text = f"the scratch database {name} could not be dropped: {self._run.redact(error.what)}"
                self._run.sink(Notice(id, Hint(f"{text}; later: ", Command("drop-clone", "--left-behind"))))

    @contextmanager
    def working(self, executor: Executor) -> Iterator[None]:
        """Have this executor stopped too, when everything is."""
        with self._mutex:
            self._working.add(executor)
        try:
            yield
        finally:
            with self._mutex:
                self._working.discard(executor)
