"""What the `risks` of the manifest say of a plan: which of its risks are refused, and of which a person is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.analysis.rules import BLOCKS_WRITES, BREAKS_READERS, LOSES_DATA
from orchestrator.errors import ConflictError
from orchestrator.hints import Command, Hint
from orchestrator.model import Direction
from orchestrator.operations.plan import Planned
from orchestrator.records import replace

if TYPE_CHECKING:
    from orchestrator.analysis.risks import Risk

_DEFAULT = {LOSES_DATA: "ask", BLOCKS_WRITES: "allow", BREAKS_READERS: "allow"}
SHOWN = 20


def treated(planned: Planned, wanted: str) -> list[tuple[str, Risk, str]]:
    """Return database, risk and kind of all that the manifest wants to be treated so: `refuse`, `ask` or `allow`."""
    found = []
    for id, ones in planned.risks.items():
        policy = _DEFAULT | dict(planned.run.databases[id].risks)
        for risk in ones:
            kind = next((kind for kind in sorted(risk.kinds) if policy[kind] == wanted), "")
            found += [(id, risk, kind)] if kind else []
    return found


def refuse_again(down: Planned) -> None:
    """Raise ConflictError if the manifest refuses what the migrations of a rollback do when they are applied once more."""
    (database,) = down.plan.databases
    migrations = {one.version: one for one in down.run.catalogs[database.id]}
    ups = ((step, migrations[step.version].up) for step in reversed(database.steps) if step.version in migrations)
    steps = tuple(
        replace(step, direction=Direction.UP, path=up.path, checksum=up.checksum, first=0) for step, up in ups if up
    )
    again = replace(down.plan, direction=Direction.UP, databases=(replace(database, steps=steps),))
    refuse(replace(down, plan=again))


def refuse(planned: Planned) -> None:
    """Raise ConflictError if the manifest refuses one of the plan's risks; nothing has run yet. A rollback is not refused."""
    found = treated(planned, "refuse") if planned.plan.direction is Direction.UP else []
    if not found:
        return
    kinds = dict.fromkeys(kind for _, _, kind in found)
    lines = [f"{risk.where}: {risk.what}\n  {risk.statement}" for _, risk, _ in found[:SHOWN]]
    lines += [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    names = ", ".join(dict.fromkeys(id for id, _, _ in found))
    raise ConflictError(
        f"the manifest refuses what this plan does ({', '.join(f'{kind}: refuse' for kind in kinds)}) to {names}: "
        "nothing was changed",
        detail="\n".join(lines),
        hint=Hint(
            "if it is meant, say so above the first statement of the file: -- orch: allow CODE REASON (",
            Command("lint"),
            " shows the code)",
        ),
    )
