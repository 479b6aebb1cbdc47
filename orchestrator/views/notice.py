"""What a webhook is told of a run: which of its events it was, and the body of the message."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import ExitCode
from orchestrator.events import Failure
from orchestrator.phrases import some

SHOWN = 20  # failures
_LONGEST = 500  # characters of one
FAILED, DRIFTED, FINISHED = "failed", "drifted", "finished"


@dataclass(frozen=True, slots=True)
class Told:
    """A run that is over. `failures` are by database; `done` databases were migrated, `blocked` were not begun."""

    command: str
    run_id: str
    actor: str
    exit_code: int
    done: int
    blocked: int
    failures: Mapping[str, Failure]

    @property
    def events(self) -> tuple[str, ...]:
        """What happened, of the words of `events`: nothing for a run that had nothing to do."""
        drifted = any(failure.kind == "drift" for failure in self.failures.values())
        # A rollout that is paused, or members that are not known yet, are no failure.
        well = self.exit_code in (ExitCode.DONE, ExitCode.NOT_YET) and not (self.failures or self.blocked)
        found = [*([] if well else [FAILED]), *([DRIFTED] if drifted else [])]
        return tuple(found) or ((FINISHED,) if self.done else ())


def body(told: Told, wanted: Collection[str], format_: str) -> bytes | None:
    """Return the message for a webhook that wants these events, as `json` or `slack` have it; None if it wants none."""
    events = [event for event in told.events if event in wanted]
    if not events:
        return None
    return json.dumps(_slack(told, events) if format_ == "slack" else _plain(told, events)).encode()


def _plain(told: Told, events: Sequence[str]) -> dict[str, Any]:
    return {
        "format": 1,
        "event": events[-1],
        "command": told.command,
        "run_id": told.run_id,
        "actor": told.actor,
        "exit_code": told.exit_code,
        "done": told.done,
        "failed": len(told.failures),
        "blocked": told.blocked,
        "failures": [
            {"database": id, "kind": failure.kind, "what": failure.what[:_LONGEST]}
            for id, failure in list(told.failures.items())[:SHOWN]
        ],
    }


def _slack(told: Told, events: Sequence[str]) -> dict[str, Any]:
    counts = ((told.done, "done"), (len(told.failures), "failed"), (told.blocked, "blocked"))
    numbers = ", ".join(f"{number:,} {word}" for number, word in counts if number)
    named = f" ({some(list(told.failures))})" if told.failures else ""
    lines = [f"*orch {told.command} {events[-1]}*: {numbers or 'no database was migrated'}{named}"]
    lines += [f"• {id}: {failure.what[:_LONGEST]}" for id, failure in list(told.failures.items())[:SHOWN]]
    lines.append(f"run {told.run_id} by {told.actor}, exit code {told.exit_code}")
    text = "\n".join(lines)
    return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
