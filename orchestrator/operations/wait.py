"""Wait until databases are migrated. It only reads, and needs no credentials but theirs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from orchestrator.errors import NotYetError, UsageError
from orchestrator.events import Notice, Sink
from orchestrator.hints import Command, Hint
from orchestrator.manifest.names import select
from orchestrator.operations.scope import Scope
from orchestrator.operations.waiting import look, missing_in
from orchestrator.phrases import some
from orchestrator.records import replace


def wait(scope: Scope, sink: Sink, wanted: Sequence[str] = (), *, every: float = 1.0) -> tuple[str, ...]:
    """Wait up to `scope.wait` seconds, looking every `every` seconds; return the databases that are migrated then.

    `wanted` are names or patterns as for `--only`, or NAME@VERSION for a part of the migrations; none means all databases.
    `sink` gets a notice whenever the reason to wait changes. NotYetError when the time is over; ConflictError and others
    for what waiting cannot mend.
    """
    versions = dict(map(_parse, wanted))
    assembly = replace(scope, only=list(versions), no_deps=bool(versions)).assemble()
    upto: dict[str, int | None] = dict.fromkeys(database.id for database in assembly.databases)
    asked: dict[str, list[int | None]] = {}
    for name, version in versions.items():
        for one in select(assembly.databases, [name], no_deps=True):
            asked.setdefault(one.id, []).append(version)
    for id, several in asked.items():  # each of them has to be reached; None is the last version
        upto[id] = None if None in several else max(filter(None, several), default=0)
    run = scope.run(assembly, sink)
    deadline = time.monotonic() + scope.wait
    told = ""
    while True:
        surveys = look(run)
        over = time.monotonic() >= deadline
        missing: dict[str, list[str]] = {}
        for database in assembly.databases:
            id = database.id
            if reason := missing_in(database, run.catalogs[id], surveys[id], upto[id], over):
                missing.setdefault(reason, []).append(id)
        if not missing:
            return tuple(upto)
        lines = [f"{some(ids)}: {reason}" for reason, ids in missing.items()]
        state = "; ".join(lines)
        if over:
            raise NotYetError(
                f"not migrated within {scope.wait:g} s", detail="\n".join(lines), hint=Hint(Command("status"))
            )
        if state != told:
            run.sink(Notice("", f"waiting for {state}"))
            told = state
        time.sleep(min(every, max(0.0, deadline - time.monotonic())))


def _parse(text: str) -> tuple[str, int | None]:
    name, at, version = text.rpartition("@")
    if not at:
        return text, None
    if not name or not version.isdecimal():
        raise UsageError(f"--for {text!r} is not NAME or NAME@VERSION", hint=Hint(Command("wait", "--for", "order@3")))
    return name, int(version)
