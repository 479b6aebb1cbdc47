"""Read the `rollout` of a fleet: canaries, waves, pauses, and how many failures end it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.hints import Command, Hint
from orchestrator.manifest.for_each import Report
from orchestrator.manifest.source import Steps
from orchestrator.model import Rollout, RolloutStep
from orchestrator.patterns import regex

_PERCENT = regex(r"([0-9]{1,3}(?:\.[0-9]+)?)%")
_DURATION = regex(r"([0-9]{1,6}(?:\.[0-9]+)?)(s|m|h)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 7 * 24 * 3600.0
_RESUMED = "until resumed"


def read_rollout(values: Mapping[str, Any], steps: Steps, error: Report) -> Rollout | None:
    """Return the rollout of an entry, None if it has none; errors for what is wrong with it."""
    given = values.get("rollout")
    if not given:
        return None
    at = [*steps, "rollout"]
    canary = given.get("canary") or []
    then = given.get("then")
    wanted = [] if then is None else then if isinstance(then, list) else [then]
    waves = [
        _step(one, [*at, "then", *([place] if isinstance(then, list) else [])], error)
        for place, one in enumerate(wanted)
    ]
    most, rate = _failures(given.get("max_failures", 0), [*at, "max_failures"], error)
    pause = _pause(given.get("pause", 0), [*at, "pause"], error)
    return Rollout(tuple(map(str, canary)), tuple(one for one in waves if one), most, rate, pause)


def _step(given: Any, at: Steps, error: Report) -> RolloutStep | None:
    if isinstance(given, dict):
        return RolloutStep(match=str(given["match"]))
    if isinstance(given, int):
        return RolloutStep(size=given)
    found = _PERCENT.fullmatch(given)
    if found and 0 < float(found[1]) <= 100:
        return RolloutStep(percent=float(found[1]))
    error(at, f"{given!r} is not the size of a wave", "for example 5%, 100, or {match: 'label:beta'}")
    return None


def _failures(given: Any, at: Steps, error: Report) -> tuple[float, bool]:
    if isinstance(given, int):
        return given, False
    found = _PERCENT.fullmatch(given)
    if found and float(found[1]) <= 100:
        return float(found[1]), True
    error(at, f"{given!r} is no number of failures", "for example 3, or 2% of the members")
    return 0, False


def _pause(given: Any, at: Steps, error: Report) -> float:
    if given == _RESUMED:
        return float("inf")
    if isinstance(given, (int, float)):
        seconds = float(given)
    else:
        found = _DURATION.fullmatch(given)
        seconds = float(found[1]) * _SECONDS[found[2]] if found else -1.0
    if 0 <= seconds <= _LONGEST:
        return seconds
    if seconds > _LONGEST:
        error(at, f"the pause {given!r} is too long", f"168h at most; or '{_RESUMED}'")
        return 0.0
    error(at, f"{given!r} is no pause", Hint(f"for example 10m, or '{_RESUMED}': until ", Command("rollout", "resume")))
    return 0.0
