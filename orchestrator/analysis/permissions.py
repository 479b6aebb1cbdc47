"""Permissions in files: `-- orch: allow PG203 reason`, or in a MongoDB command `"comment": {"orch": {"allow": {…}}}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.analysis.findings import Finding
from orchestrator.analysis.rules import rules
from orchestrator.model import Mark, Script
from orchestrator.patterns import regex
from orchestrator.phrases import did_you_mean
from orchestrator.records import dataclass

_ALLOW = regex(r"(?P<code>[^\s=]*)[ \t]*(?P<reason>.*)")


@dataclass(frozen=True, slots=True)
class Permission:
    """A rule that a file may break, and why. `statement` is the one that it holds for; None: the whole file."""

    code: str
    reason: str
    where: Mark
    statement: int | None = None


def permissions(script: Script) -> list[Permission]:
    """Return the permissions of a file, right or wrong, in their order."""
    found: list[Permission] = []
    for line in script.directives:
        if line.name == "allow" and (given := _ALLOW.match(line.value)):
            where = Mark.at(script.file.path, script.text, line.value_at)
            found.append(Permission(given["code"].upper(), _reason(given["reason"]), where))
    for number, statement in enumerate(script.statements):
        if isinstance(statement.body, str):
            break
        comment = statement.body.get("comment")
        orch = comment.get("orch") if isinstance(comment, Mapping) else None
        allow = orch.get("allow") if isinstance(orch, Mapping) else None
        for code, reason in allow.items() if isinstance(allow, Mapping) else ():
            where = Mark(script.file.path, statement.line, 1)
            found.append(Permission(str(code).upper(), _reason(reason), where, number))
    return found


def _reason(given: object) -> str:
    """Return a reason that says something; '' for none, and for signs alone."""
    text = given.strip() if isinstance(given, str) else ""
    return text if any(char.isalnum() for char in text) else ""


def allowed(finding: Finding, granted: Iterable[Permission]) -> bool:
    """Whether one of the permissions, with a reason, is for this finding."""
    return any(
        one.code == finding.code and one.reason and one.statement in (None, finding.statement) for one in granted
    )


def wrong(granted: list[Permission], used: list[Finding]) -> list[Finding]:
    """Return what is wrong with permissions: an unknown code, no reason, given twice, not used by any of these findings."""
    found: list[Finding] = []
    seen: set[tuple[str, int | None]] = set()
    for one in granted:
        key = (one.code, one.statement)
        if one.code not in rules():
            near = did_you_mean(one.code, rules())
            what = f"the permission names {one.code or 'nothing'}, which is no rule" + (f": {near}" if near else "")
            found.append(Finding("LT002", one.where, what))
        elif not one.reason:
            found.append(
                Finding("LT003", one.where, f"the permission for {one.code} has no reason, so it allows nothing")
            )
        elif key in seen:
            found.append(Finding("LT004", one.where, f"the permission for {one.code} is given twice"))
        elif not any(allowed(finding, [one]) for finding in used):
            found.append(Finding("LT005", one.where, f"the permission for {one.code} is not used"))
        seen.add(key)
    return found
