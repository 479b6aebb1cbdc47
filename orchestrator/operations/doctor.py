"""Look at every server of the manifest: is it reached, what is it, what would stop or slow down a migration. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from orchestrator.errors import DatabaseMissingError, ExitCode, OrchError, exit_code_of
from orchestrator.events import Failure, Sink
from orchestrator.execution.run import Run
from orchestrator.execution.scheduler import walk
from orchestrator.hints import joined
from orchestrator.model import Vitals
from orchestrator.operations.scope import Scope
from orchestrator.phrases import some

_CLOCK_OFF = 5.0  # seconds
SLOW_CONNECT, SLOW_ANSWER = 1.0, 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Examined:
    """One server. `connect` and `answer` are seconds, `clock_off` how far its clock is ahead of ours, None if unknown.

    `role` is what it is among others, such as `primary` or `standby`.

    `problems` stop migrations, `notes` do not. With a `failure` it was not reached.
    """

    endpoint: str
    engine: str
    databases: tuple[str, ...]
    version: str = ""
    role: str = ""
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
    found: dict[str, _Look | Failure | None] = {}

    def look(id: str) -> bool:
        found[id] = _look(run, id)
        return True

    walk(
        dict.fromkeys(run.targets, ()),
        look,
        server_of=run.server_of,
        jobs=run.jobs,
        jobs_per_server=run.jobs_per_server,
        stop=run.stop,
        abandon=True,
    )
    return Health(tuple(_server(run, ids, {id: found[id] for id in ids if id in found}) for ids in servers.values()))


class _Look(NamedTuple):
    """What was found in one database: seconds, how far the clock of its server is ahead, and what is wrong."""

    version: str
    connect: float
    answer: float
    clock_off: float | None
    vitals: Vitals


def _look(run: Run, id: str) -> _Look | Failure | None:
    """Look at one database; None if it does not exist yet."""
    try:
        return run.when_ready(id, partial(_reached, run, id))
    except DatabaseMissingError:
        return None
    except OrchError as error:
        return Failure.of(error, run.redact)


def _reached(run: Run, id: str) -> _Look:
    target = run.targets[id]
    begun = time.monotonic()
    with run.engines[target.engine].connect(target, run.until) as session:
        connect = time.monotonic() - begun
        history = session.read_history()
        version = session.server()
        asked, sent = time.monotonic(), datetime.now(UTC)
        vitals = session.vitals()
        answer = time.monotonic() - asked
    if history.read_only:
        vitals = vitals._replace(problems=(*vitals.problems, history.read_only.what))
    off = (vitals.clock - sent).total_seconds() - answer / 2 if vitals.clock else None
    return _Look(version, connect, answer, off, vitals)


def _server(run: Run, ids: Sequence[str], looks: Mapping[str, _Look | Failure | None]) -> Examined:
    """Put together what was found in the databases of one server."""
    first = run.targets[ids[0]]
    base = Examined(first.endpoint, first.engine, tuple(ids))
    reached = {id: look for id, look in looks.items() if isinstance(look, _Look)}
    failed = {id: look for id, look in looks.items() if isinstance(look, Failure)}
    if not reached:
        if failed:
            return replace(base, failure=next(iter(failed.values())))
        return replace(base, notes=("none of its databases exists yet, so that more could not be asked",))
    problems = _of_each({id: look.vitals.problems for id, look in reached.items()}, run)
    problems += _of_each({id: (joined(": ", [one.what, one.hint]),) for id, one in failed.items()}, run)
    notes = _of_each({id: look.vitals.notes for id, look in reached.items()}, run)
    best = min(reached.values(), key=lambda look: look.answer)
    if best.clock_off is not None and abs(best.clock_off) > _CLOCK_OFF:
        way = "ahead of" if best.clock_off > 0 else "behind"
        notes.append(
            f"its clock is {abs(best.clock_off):.0f} s {way} this machine: times in the history will look wrong"
        )
    if best.connect > SLOW_CONNECT:
        notes.append(f"connecting took {best.connect:.1f} s")
    if best.answer > SLOW_ANSWER:
        notes.append(f"an answer took {best.answer * 1000:.0f} ms: many statements will take long")
    return replace(
        base,
        version=best.version,
        role=best.vitals.role,
        connect=best.connect,
        answer=best.answer,
        clock_off=best.clock_off,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _of_each(told: Mapping[str, Sequence[str]], run: Run) -> list[str]:
    """Return what databases have in common once, with their names where it does not hold for all of them."""
    alike: dict[str, list[str]] = {}
    for id, texts in told.items():
        for text in texts:
            alike.setdefault(run.redact(text), []).append(id)
    return [text if len(ids) == len(told) > 1 else f"{some(ids)}: {text}" for text, ids in alike.items()]
