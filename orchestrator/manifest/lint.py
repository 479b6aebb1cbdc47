"""Read the `lint` sections of a manifest: levels of rules, and the server's version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.hints import Blank, Command, Hint
from orchestrator.manifest.source import Steps
from orchestrator.model import Lint
from orchestrator.phrases import did_you_mean

NO_LINT = Lint()


def read_lint(
    values: Mapping[str, Any], steps: Steps, inherited: Lint, error: Callable[[Steps, str, str], None]
) -> Lint:
    """Return what a section says above what it inherits; `error` is told of every code that does not exist."""
    given = values.get("lint")
    if not given:
        return inherited
    from orchestrator.analysis.rules import rules

    levels = dict(inherited.levels)
    for code, level in (given.get("codes") or {}).items():
        if code not in rules():
            hint = did_you_mean(code, rules()) or Hint(Command("lint", "--explain", Blank("CODE")), " explains one")
            error([*steps, "lint", "codes", code], f"there is no lint rule {code!r}", hint)
        levels[code] = level or "off"
    if (version := given.get("server_version")) is not None:
        return Lint(levels, version, own_version=bool(steps))
    return Lint(levels, inherited.server_version, own_version=inherited.own_version)
