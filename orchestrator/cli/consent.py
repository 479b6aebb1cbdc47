"""What a plan may do by the `risks` of the manifest: refuse it, or ask a person before it runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.analysis.rules import BLOCKS_WRITES, BREAKS_READERS, LOSES_DATA
from orchestrator.cli.console import confirmed, is_terminal, paint, say
from orchestrator.errors import ConflictError, InterruptedRunError
from orchestrator.model import Database

if TYPE_CHECKING:
    from orchestrator.analysis.risks import Risk

_DEFAULT = {LOSES_DATA: "ask", BLOCKS_WRITES: "allow", BREAKS_READERS: "allow"}
_SHOWN = 20


def refuse(databases: Mapping[str, Database], risks: Mapping[str, Sequence[Risk]]) -> None:
    """Raise ConflictError if the manifest refuses one of these risks; nothing has run yet."""
    found = _of(databases, risks, "refuse")
    if not found:
        return
    kinds = dict.fromkeys(kind for _, _, kind in found)
    lines = [f"{risk.where}: {risk.what}\n  {risk.statement}" for _, risk, _ in found[:_SHOWN]]
    lines += [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    names = ", ".join(dict.fromkeys(id for id, _, _ in found))
    raise ConflictError(
        f"the manifest refuses what this plan does ({', '.join(f'{kind}: refuse' for kind in kinds)}) to {names}: "
        "nothing was changed",
        detail="\n".join(lines),
        hint="if it is meant, say so above the first statement of the file: -- orch: allow CODE REASON "
        "(orch lint shows the code)",
    )


def ask(databases: Mapping[str, Database], risks: Mapping[str, Sequence[Risk]], *, yes: bool) -> None:
    """Ask before a risk of which the manifest says so; InterruptedRunError if the answer is not yes.

    Without a terminal nobody is asked, and the plan runs.
    """
    found = _of(databases, risks, "ask")
    if yes or not found or not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return
    for id, risk, _ in found[:_SHOWN]:
        say(f"{paint('!', 'yellow', sys.stderr)} {id}: {risk.what}: {risk.where}\n    {risk.statement}")
    if len(found) > _SHOWN:
        say(f"and {len(found) - _SHOWN} more")
    if not confirmed("to run this"):
        raise InterruptedRunError("not confirmed: nothing was changed")


def _of(
    databases: Mapping[str, Database], risks: Mapping[str, Sequence[Risk]], wanted: str
) -> list[tuple[str, Risk, str]]:
    """Return database, risk and kind of all that the manifest wants to be treated so."""
    found = []
    for id, ones in risks.items():
        policy = _DEFAULT | dict(databases[id].risks)
        for risk in ones:
            kind = next((kind for kind in sorted(risk.kinds) if policy[kind] == wanted), "")
            found += [(id, risk, kind)] if kind else []
    return found
