"""The output of `orch doctor`: a row for each server, and what is wrong below."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from orchestrator.operations.doctor import Examined, Health
from orchestrator.views.table import TOGETHER, Painted, counted, lines_of, table


def health_text(health: Health) -> str:
    """Return a table of servers, then each problem and note, then a sentence."""
    rows = [
        (
            one.endpoint,
            one.version or one.engine,
            one.role,
            str(len(one.databases)),
            _milliseconds(one.connect),
            _milliseconds(one.answer),
            "" if one.clock_off is None else f"{round(one.clock_off, 1) + 0:+.1f}{TOGETHER}s",
            _state(one),
        )
        for one in health.servers
    ]
    lines: list[str] = [table(("SERVER", "VERSION", "ROLE", "DATABASES", "CONNECT", "ANSWER", "CLOCK", "STATE"), rows)]
    for one in health.servers:
        lines += [Painted(f"{one.endpoint}: {problem}", "red") for problem in one.problems]
        lines += [f"{one.endpoint}: note: {note}" for note in one.notes]
    well = sum(one.is_well for one in health.servers)
    return lines_of([*lines, "", f"{well} of {counted(len(health.servers), 'server')} ready for migrations."])


def health_document(health: Health) -> dict[str, Any]:
    """Return what `orch doctor --output json` shows; times are seconds."""
    entries = []
    for one in health.servers:
        entry = asdict(one) | {
            "databases": list(one.databases),
            "problems": list(one.problems),
            "notes": list(one.notes),
        }
        entries.append(entry | {"failure": one.failure.document() if one.failure else None})
    return {"format": 1, "servers": entries}


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:,.0f}{TOGETHER}ms"


def _state(one: Examined) -> Painted:
    if one.failure:
        return Painted(one.failure.kind.replace("_", " "), "red")
    return Painted("problems", "red") if one.problems else Painted("ready", "green")
