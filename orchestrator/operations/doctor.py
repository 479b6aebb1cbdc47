"""Look at every server of the manifest: is it reached, what is it, what would stop or slow down a migration. Changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from orchestrator.errors import DatabaseMissingError, ExitCode, OrchError, exit_code_of
from orchestrator.events import Failure, Sink
from orchestrator.execution.run import Run
from orchestrator.execution.scheduler import walk
from orchestrator.operations.scope import Scope

TRIED = 5  # databases of a server, until one exists
CLOCK_OFF = 5.0  # seconds
SLOW_CONNECT, SLOW_ANSWER = 1.0, 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Examined:
    """One server. `connect` and `answer` are seconds, `clock_off` how far its clock is ahead of ours, None if unknown.

    `problems` stop migrations, `notes` do not. With a `failure` it was not reached.
    """

    endpoint: str
    engine: str
    databases: tuple[str, ...]
    version: str = ""
    connect: float | None = None
    answer: float | None = None
    clock_off: float | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failure: Failure | None = None

    @property
    def is_well(self) -> bool:
        """Whether nothing here stops a migration."""
        return not self.problems and self.failure is None


@dataclass(frozen=True, slots=True)
class Health:
    """All servers, in the order of the manifest."""

    servers: tuple[Examined, ...]

    @property
    def failures(self) -> tuple[tuple[str, Failure], ...]:
        """Which servers were not reached, and why."""
        return tuple((one.endpoint, one.failure) for one in self.servers if one.failure)

    @property
    def exit_code(self) -> int:
        """0, that of what was not reached, or 1 if something else stops migrations."""
        ill = any(one.problems for one in self.servers)
        return exit_code_of(one.failure.exit_code for one in self.servers if one.failure) or int(
            ExitCode.FAILED if ill else ExitCode.DONE
        )


def doctor(scope: Scope, sink: Sink) -> Health:
    """Look at the servers of the chosen databases, several at a time. InvalidError for a manifest or DSNs that are wrong."""
    assembly = scope.assemble()
    run = scope.run(assembly, sink)
    servers: dict[str, list[str]] = {}
    for id, target in run.targets.items():
        servers.setdefault(target.server_key, []).append(id)
    found: dict[str, Examined] = {}

    def look(key: str) -> bool:
        found[key] = _examined(run, servers[key])
        return True

    walk(
        dict.fromkeys(servers, ()),
        look,
        server_of={key: key for key in servers},
        jobs=run.jobs,
        jobs_per_server=run.jobs_per_server,
        stop=run.stop,
        abandon=True,
    )
    return Health(tuple(found[key] for key in servers if key in found))


def _examined(run: Run, ids: list[str]) -> Examined:
    first = run.targets[ids[0]]
    base = Examined(first.endpoint, first.engine, tuple(ids))
    for id in ids[:TRIED]:
        try:
            return run.when_ready(id, partial(_reached, run, id, base))
        except DatabaseMissingError:
            continue
        except OrchError as error:
            return replace(base, failure=Failure.of(error, run.redact))
    note = "none of its databases exists yet, so that more could not be asked"
    return replace(base, notes=(note,))


def _reached(run: Run, id: str, base: Examined) -> Examined:
    target = run.targets[id]
    begun = time.monotonic()
    with run.engines[target.engine].connect(target, run.until) as session:
        connect = time.monotonic() - begun
        history = session.read_history()
        asked = time.monotonic()
        sent = datetime.now(UTC)
        vitals = session.vitals()
        answer = time.monotonic() - asked
        version = session.server()
    problems = [run.redact(problem) for problem in vitals.problems]
    if history.read_only:
        problems.append(run.redact(history.read_only.what))
    off = (vitals.clock - sent).total_seconds() - answer / 2 if vitals.clock else None
    notes = []
    if off is not None and abs(off) > CLOCK_OFF:
        way = "ahead of" if off > 0 else "behind"
        notes.append(f"its clock is {abs(off):.0f} s {way} this machine: times in the history will look wrong")
    if connect > SLOW_CONNECT:
        notes.append(f"connecting took {connect:.1f} s")
    if answer > SLOW_ANSWER:
        notes.append(f"an answer took {answer * 1000:.0f} ms: many statements will take long")
    return replace(
        base,
        version=version,
        connect=connect,
        answer=answer,
        clock_off=off,
        problems=tuple(problems),
        notes=tuple(notes),
    )
