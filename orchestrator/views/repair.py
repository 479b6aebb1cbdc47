"""What is wrong with a database and what can be done; what was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.hints import Command, Hint, joined
from orchestrator.views.table import diff_of, lines_of

if TYPE_CHECKING:
    from orchestrator.operations.recording import Recorded
    from orchestrator.operations.repair import Offered


def offered_text(offered: Offered) -> Hint:
    """Return the problems of a database, and the command of each resolution."""
    id = offered.id
    lines: list[str] = [f"{id}: {problem.what}" for problem in offered.problems]
    lines = lines or [f"{id}: nothing is wrong."]
    diffs = [line for diff in offered.diffs.values() for line in diff.splitlines()]
    lines += [Hint("\n", lines_of(diff_of(diffs)))] if diffs else []
    if offered.resolutions:
        lines += ["\nWhat you can do (with --reason TEXT, the reason is kept in the history):"]
        lines += [Hint("  ", one.command(id), f"\n      {one.what}") for one in offered.resolutions]
    else:
        lines += [Hint("  ", problem.hint_for(id)) for problem in offered.problems]
    if offered.following:
        version = offered.following.values[0]
        about = f"\nIf the next pending version, {version}, is in the database: "
        lines += [Hint(about, offered.following.command(id))]
    return joined("\n", lines)


def offered_document(offered: Offered) -> dict[str, Any]:
    """Return what `orch repair NAME --output json` shows."""
    diffs = offered.diffs
    problems = [
        {"kind": problem.kind.value, "what": problem.what}
        | ({"diff": diffs[problem.version]} if problem.version is not None and problem.version in diffs else {})
        for problem in offered.problems
    ]
    ways = [{"flag": f"--{resolution.flag}", "what": resolution.what} for resolution in offered.resolutions]
    return {"format": 1, "id": offered.id, "problems": problems, "ways": ways}


def recorded_text(recorded: Recorded, following: bool) -> Hint:
    """Return a sentence on each database, and with `following` the commands to run next; '' if nothing is to be told."""
    lines: list[str] = [f"{id}: recorded that {one.what}." for id, one in recorded.recorded.items()]
    lines += [f"{id}: {why}." for id, why in recorded.unchanged.items()]
    if following and recorded.recorded:
        lines.append(Hint("Next: ", Command("status"), ", then ", Command("apply")))
    return joined("\n", lines)


def recorded_document(recorded: Recorded, following: bool) -> dict[str, Any]:
    """Return what `orch repair` shows with --output json after it has recorded something."""
    del following
    told = [{"id": id, "flag": f"--{one.flag}", "what": one.what} for id, one in recorded.recorded.items()]
    document: dict[str, Any] = {"format": 1, "recorded": told}
    if recorded.failures:
        document["errors"] = [failure.document() | {"id": id} for id, failure in recorded.failures.items()]
    return document


def baseline_text(recorded: Recorded, following: bool) -> str:
    """Return which versions count as applied."""
    del following
    return "\n".join(f"{id}: {one.what}." for id, one in recorded.recorded.items())
