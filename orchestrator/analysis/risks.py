"""What a person should look at before a plan runs: what the lint rules say of its statements. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from orchestrator.analysis.findings import Finding, Story
from orchestrator.analysis.permissions import allowed, permissions
from orchestrator.analysis.rules import OFF, fits_engine
from orchestrator.analysis.rules import rules as all_rules
from orchestrator.model import Mark, Script

_OTHERS_LOSE = "drops a database"  # what a plan can take from somebody even where it makes everything itself

_TOGETHER = "PG304"  # it is about a transaction, so it stands by itself


@dataclass(frozen=True, slots=True)
class Risk:
    """One statement to look at: what it does, and where it is."""

    where: Mark
    what: str


def risks(
    scripts: Iterable[Script],
    *,
    fresh: bool = False,
    past: Callable[[], Iterable[Script]] | None = None,
    engine: str = "",
) -> list[Risk]:
    """Return what is dangerous in the files of a database's plan, in their order.

    It judges by what files say, and never forbids any. `fresh`: the plan creates the database, so everything in it
    was made by the plan, and only what another database can lose counts. `past` returns the files that are applied
    already, in order; they are read only if without them something would be told. `engine`: only rules that are true
    of its files count.
    """
    ahead = list(scripts)
    found = list(_told(Story(complete=False), ahead, engine))
    if fresh:
        return [risk for risk in found if _OTHERS_LOSE in risk.what]
    if found and past is not None:
        story = Story()
        for script in past():
            story.past(script)
        found = list(_told(story, ahead, engine))
    return found


def _told(story: Story, scripts: Iterable[Script], engine: str) -> Iterator[Risk]:
    for script in scripts:
        granted = permissions(script)
        judged = [one for one in story.judge(script) if not engine or fits_engine(one.code, engine)]
        findings = [one for one in judged if all_rules()[one.code].level != OFF and not allowed(one, granted)]
        places: dict[tuple[int, int, bool], list[Finding]] = {}
        for finding in findings:
            places.setdefault((finding.statement, finding.part, finding.code == _TOGETHER), []).append(finding)
        for (number, _, _), same in places.items():
            whats = dict.fromkeys(one.what for one in sorted(same, key=lambda one: one.code))
            yield Risk(Mark(script.file.path, script.statements[number].line), "; ".join(whats))
