"""The migrations of one database, one by one: which are applied, by whom, and which are not. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.model import Attempt, Migration
from orchestrator.planning.attempts import latest_effective
from orchestrator.planning.history import State
from orchestrator.records import dataclass

APPLIED, PENDING, FAILED, PARTIAL, HELD = "applied", "pending", "failed", "partial", "not written yet"


@dataclass(frozen=True, slots=True)
class Listed:
    """One migration. `attempt` is the one that made it what it is, or the last that failed; `risks` are of a pending one."""

    version: int
    name: str
    state: str
    attempt: Attempt | None = None
    note: str = ""
    risks: tuple[str, ...] = ()


def listed(migrations: Sequence[Migration], state: State, attempts: Sequence[Attempt]) -> tuple[Listed, ...]:
    """Return every migration that has files or is applied, lowest version first."""
    return tuple(_each({migration.version: migration for migration in migrations}, state, attempts))


def _each(files: Mapping[int, Migration], state: State, attempts: Sequence[Attempt]) -> Iterator[Listed]:
    effective = latest_effective(attempts)
    failed = {one.version: one for one in state.failed}
    applied, pending = set(state.applied), set(state.pending)
    partial = state.partial.version if state.partial else None
    for version in sorted({*files, *applied, *([partial] if partial is not None else [])}):
        attempt = effective.get(version)
        name = files[version].name if version in files else attempt.name if attempt else ""
        if version == partial and state.partial:
            note = f"stopped at statement {state.partial.applied + 1} of {state.partial.total}"
            yield Listed(version, name, PARTIAL, state.partial, _and(note, state.partial.error))
        elif version in applied:
            ours = None if version in state.adopt else attempt
            note = "by golang-migrate" if ours is None else ours.origin.value
            yield Listed(version, name, APPLIED, ours, "" if note == APPLIED else note)
        elif version in pending:
            last = failed.get(version)
            yield Listed(version, name, FAILED, last, "the last try failed") if last else Listed(version, name, PENDING)
        elif version in files and files[version].unwritten:
            yield Listed(version, name, HELD, note="as `orch new` wrote it")


def _and(note: str, error: str) -> str:
    return f"{note}: {error}" if error else note
