"""Databases with a migration history that no manifest declares, on the servers of a manifest. Only reads."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from orchestrator.engines import dialect
from orchestrator.engines.base import Engine
from orchestrator.errors import OrchError
from orchestrator.events import Failure
from orchestrator.execution.run import Run
from orchestrator.execution.survey import survey
from orchestrator.manifest.retarget import retarget
from orchestrator.model import Target
from orchestrator.planning.history import reconcile
from orchestrator.scratch.clone_names import CLONES, TEMPLATES


@dataclass(frozen=True, slots=True)
class Orphan:
    """A database that has a history and is in no manifest. `version` is where it stands, by that history."""

    engine: str
    endpoint: str
    database: str
    version: int | None


@dataclass(frozen=True, slots=True)
class Orphans:
    """What was found. `unread` are databases and servers that could not be looked at, each with the reason."""

    found: tuple[Orphan, ...]
    unread: tuple[tuple[str, Failure], ...]


def orphans(run: Run, others: Sequence[Target]) -> Orphans:
    """Look at every server of the run. `others` are databases of other manifests, which are no orphans."""
    surveys = survey(run, reads=True)
    places = {seen.history.place for seen in surveys.values() if seen.history.place}
    known = {(target.engine, target.endpoint, target.database) for target in (*run.targets.values(), *others)}
    servers: dict[tuple[str, str], tuple[str, Target]] = {}
    for id, target in run.targets.items():
        servers.setdefault((target.engine, target.endpoint), (id, target))
    found: list[Orphan] = []
    unread: list[tuple[str, Failure]] = []
    for id, target in servers.values():
        engine = run.engines[target.engine]
        try:
            names = engine.copies(target, run.databases[id].create).names("")
        except OrchError as error:
            unread.append((target.endpoint, Failure.of(error, run.redact)))
            continue
        for name in _foreign(names, target, known):
            try:
                orphan = _look(engine, target, name, places)
            except OrchError as error:
                unread.append((f"{target.endpoint}/{name}", Failure.of(error, run.redact)))
            else:
                found += [orphan] if orphan else []
    return Orphans(tuple(found), tuple(unread))


def _foreign(names: Sequence[str], target: Target, known: Collection[tuple[str, str, str]]) -> Iterator[str]:
    """Yield the databases that are in no manifest, and belong neither to the server nor to tests."""
    own = dialect(target.engine).server_databases
    for name in names:
        declared = (target.engine, target.endpoint, name) in known
        if not declared and name not in own and not name.startswith((CLONES, TEMPLATES)):
            yield name


def _look(engine: Engine, target: Target, name: str, places: Collection[str]) -> Orphan | None:
    place = f"database '{name}'"  # it has no entry in the manifest, and must not be taken for that of another
    with engine.connect(replace(retarget(target, name), database_id=place)) as session:
        history = session.read_history()
    if not (history.attempts or history.version_row) or history.place in places:
        return None
    version = reconcile((), history).version
    if version is None and history.version_row:
        version = history.version_row.version
    return Orphan(target.engine, target.endpoint, name, version)
