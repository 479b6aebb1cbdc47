"""What use cases share that write records and run no file: read, decide, and have it written under the lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.errors import DatabaseMissingError, exit_code_of
from orchestrator.events import MAX_WHAT, Failure, RunFinished, Sink
from orchestrator.execution.reading import read_half_done
from orchestrator.execution.recorder import Decide, Recorder
from orchestrator.execution.run import Run
from orchestrator.execution.survey import survey
from orchestrator.hints import Command, Hint
from orchestrator.model import Database, History, Migration
from orchestrator.operations.assembly import Assembly
from orchestrator.operations.scope import Scope, the_one
from orchestrator.phrases import one_line
from orchestrator.planning.half_done import held_against_file
from orchestrator.planning.history import State, reconcile
from orchestrator.planning.resolution import Resolution, Signature
from orchestrator.secret import hidden


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of every database: what was recorded, why nothing had to be, or why it failed."""

    recorded: Mapping[str, Resolution]
    unchanged: Mapping[str, str]
    failures: Mapping[str, Failure]
    finished: RunFinished

    @property
    def exit_code(self) -> int:
        """130 if the run was stopped, else that of the failures."""
        return self.finished.exit_code if self.finished.skipped else exit_code_of(f.exit_code for f in self._all)

    @property
    def _all(self) -> tuple[Failure, ...]:
        return tuple(self.failures.values())


@dataclass(frozen=True)
class Recording:
    """Records that are decided and not written yet. `execute` writes them; `stop` is for a signal handler."""

    run: Run
    seen: Mapping[str, History]
    decide: Decide
    unchanged: Mapping[str, str] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    _recorder: Recorder = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_recorder", Recorder(self.run, self.seen, self.decide))

    def execute(self) -> Recorded:
        """Write the records of all databases, several at the same time. One that fails does not stop the others."""
        finished = self._recorder.execute()
        order = list(self.run.databases)
        recorded = {id: self._recorder.recorded[id] for id in order if id in self._recorder.recorded}
        failures = {**self.failures, **self._recorder.failures}
        return Recorded(recorded, self.unchanged, {id: failures[id] for id in order if id in failures}, finished)

    def stop(self) -> None:
        """Begin nothing new; called again: cancel on the servers."""
        self._recorder.stop()


@dataclass(frozen=True)
class Looked:
    """The databases of a run with their histories. Of those in `failures` none could be read."""

    run: Run
    assembly: Assembly
    histories: Mapping[str, History]
    failures: Mapping[str, Failure] = field(default_factory=dict)

    def database(self, id: str) -> Database:
        """Return what the manifest says of a database."""
        return self.run.databases[id]

    def migrations(self, id: str) -> tuple[Migration, ...]:
        """Return the files of a database."""
        return self.run.catalogs[id]

    def state(self, id: str, history: History) -> State:
        """Return what a history says, with the file of a partial attempt compared."""
        migrations = self.migrations(id)
        state = reconcile(migrations, history, out_of_order=self.database(id).settings.out_of_order)
        return held_against_file(state, id, migrations, read_half_done(self.run, {id: state}))

    def signature(self, reason: str) -> Signature:
        """Return who does this, and why; of a very long reason a part."""
        told = hidden(one_line(reason), MAX_WHAT, self.run.redact)
        return Signature(self.run.actor, self.run.run_id, self.run.tool, told)


def look_at_one(scope: Scope, sink: Sink, name: str) -> tuple[Looked, str]:
    """Read the history of one database; return it with its id. UsageError if the name means several.

    DatabaseMissingError if it does not exist, and ConnectError if its server cannot be reached.
    """
    assembly = scope.assemble()
    id = the_one(assembly, name)
    run = scope.run(assembly, sink)
    with run.engines[run.targets[id].engine].connect(run.targets[id]) as session:
        history = session.read_history()
    if not history.exists:
        raise _missing(id)
    return Looked(run, assembly, {id: history}), id


def look_at_several(scope: Scope, sink: Sink) -> Looked:
    """Read the histories of the chosen databases, several at the same time. What cannot be read is a failure."""
    assembly = scope.assemble()
    run = scope.run(assembly, sink)
    histories: dict[str, History] = {}
    failures: dict[str, Failure] = {}
    for id, seen in survey(run, reads=True, whole=True).items():
        if seen.failure:
            failures[id] = seen.failure
        elif not seen.history.exists:
            failures[id] = Failure.of(seen.refused(id) or _missing(id), run.redact)
        else:
            histories[id] = seen.history
    return Looked(run, assembly, histories, failures)


def _missing(id: str) -> DatabaseMissingError:
    return DatabaseMissingError(f"{id} does not exist", hint=Hint(Command("apply"), " creates it"))


def of_one(looked: Looked, id: str, decide: Callable[[History], Resolution]) -> Recording:
    """Return the recording of one database. What cannot be recorded is raised at once, before the lock is taken."""
    decide(looked.histories[id])
    return Recording(looked.run, looked.histories, lambda _id, history: decide(history))
