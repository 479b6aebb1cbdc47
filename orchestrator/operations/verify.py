"""Check that every down file undoes its up file, in scratch databases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.events import Notice, Sink
from orchestrator.operations.scope import Scope
from orchestrator.scratch.verify import Verifier

if TYPE_CHECKING:
    from orchestrator.model import Database
    from orchestrator.operations.assembly import Assembly


def prepare(scope: Scope, sink: Sink, since: int = 0) -> Verifier:
    """Return the verification of the chosen databases from a version on: `verify` runs it, `stop` is for a signal handler.

    Without `scope.only` all databases are verified. Of the members of a fleet on one server, which share their files, only
    the first is; `sink` is told so. InvalidError for a manifest, files or DSNs that are wrong.
    """
    alone = replace(scope, no_deps=bool(scope.only))
    assembly = alone.assemble()
    _keep_one_of_each_fleet(assembly, sink)
    return Verifier(alone.run(assembly, sink), since)


def _keep_one_of_each_fleet(assembly: Assembly, sink: Sink) -> None:
    kept: dict[object, Database] = {}
    others: dict[str, int] = {}
    for one in assembly.databases:
        first = kept.setdefault((one.fleet.entry, one.server) if one.fleet else one.id, one)
        others[first.id] = others.get(first.id, -1) + 1
    assembly.databases = tuple(kept.values())
    for one in assembly.databases:
        if one.fleet and (count := others[one.id]):
            members = "member has" if count == 1 else "members have"
            sink(Notice("", f"{one.fleet.template}: {one.id} is verified; {count:,} other {members} the same files"))
