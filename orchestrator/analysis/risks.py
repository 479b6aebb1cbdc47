"""What a person should look at before a plan runs: what the lint rules say of its statements. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from orchestrator.analysis.findings import Finding, Story, part_of
from orchestrator.analysis.permissions import allowed, permissions
from orchestrator.analysis.rule import OFF, OTHERS_LOSE
from orchestrator.analysis.rules import LOSES_DATA, fits_engine, risk_of
from orchestrator.analysis.rules import rules as all_rules
from orchestrator.analysis.statements import calls_unknown
from orchestrator.model import Mark, Script, telling
from orchestrator.records import dataclass

_TOGETHER = "PG304"  # it is about a transaction, so it stands by itself
_SHOWN = 160  # characters of a statement


@dataclass(frozen=True, slots=True)
class Risk:
    """One statement to look at: what it does, where it is, its text on one line, and which of `rules.RISKS` it is."""

    where: Mark
    what: str
    statement: str = ""
    kinds: frozenset[str] = frozenset()

    @property
    def loses_data(self) -> bool:
        """Whether something is gone when it has run."""
        return LOSES_DATA in self.kinds


def risks(
    scripts: Iterable[Script],
    *,
    fresh: bool = False,
    past: Callable[[], Iterable[Script]] | None = None,
    engine: str = "",
    levels: Mapping[str, str] | None = None,
    own: str = "",
) -> list[Risk]:
    """Return what is dangerous in the files of a database's plan, in their order.

    It judges by what files say, and never forbids any. `fresh`: the plan creates the database, so everything in it
    was made by the plan, and only what another database can lose counts. `past` returns the files that are applied
    already, in order; they are read only if without them something would be told. `engine`: only rules that are true
    of its files count. `levels` of rules are the manifest's: what is off there is no risk, unless it loses data.
    `own` is the name of the database, if that is known.
    """
    ahead = list(scripts)
    told = {code for code, rule in all_rules().items() if (levels or {}).get(code, rule.level) != OFF}
    told |= {code for code in all_rules() if risk_of(code) == LOSES_DATA}
    told &= {*OTHERS_LOSE} if fresh else told
    told = {code for code in told if not engine or fits_engine(code, engine)}
    found = list(_told(Story(complete=False, engine=engine, own=own), ahead, told))
    if past is not None and not fresh and (found or _calls_unknown(ahead)):
        story = Story(engine=engine, own=own)
        for script in past():
            story.past(script)
        found = list(_told(story, ahead, told))
    return found


def _calls_unknown(scripts: Iterable[Script]) -> bool:
    return any(
        isinstance(statement.body, str) and calls_unknown(statement.source)
        for script in scripts
        for _, statement in telling(script.statements)
    )


def _told(story: Story, scripts: Iterable[Script], told: set[str]) -> Iterator[Risk]:
    for script in scripts:
        granted = permissions(script)
        findings = [one for one in story.judge(script) if one.code in told and not allowed(one, granted)]
        places: dict[tuple[int, int, bool], list[Finding]] = {}
        for finding in findings:
            places.setdefault((finding.statement, finding.part, finding.code == _TOGETHER), []).append(finding)
        for (number, part, _), same in places.items():
            whats = dict.fromkeys(one.what for one in sorted(same, key=lambda one: one.code))
            where = Mark(script.file.path, script.statements[number].line)
            kinds = frozenset(filter(None, (risk_of(one.code) for one in same)))
            yield Risk(where, "; ".join(whats), _one_line(part_of(script.statements[number], part)), kinds)


def _one_line(source: str) -> str:
    text = " ".join(source[: 4 * _SHOWN].split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
