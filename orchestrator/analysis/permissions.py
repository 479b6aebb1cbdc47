"""Permissions in files: `-- orch: allow PG203 reason`, or in a MongoDB command `"comment": {"orch": {"allow": {…}}}`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.analysis.findings import Finding
from orchestrator.analysis.rules import rules
from orchestrator.model import Mark, Script

_LINE = re.compile(
    r"^[ \t]*--[ \t]*orch:[ \t]*allow\b[ \t]*=?[ \t]*(?P<code>[^\s=]*)[ \t]*(?P<reason>[^\r\n]*)",
    re.IGNORECASE | re.MULTILINE,
)


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
    if "orch" not in script.text:
        return found
    end = script.statements[0].offset if script.statements else len(script.text)
    sql = not any(not isinstance(statement.body, str) for statement in script.statements)
    for line in _LINE.finditer(script.text, 0, end) if sql else ():
        where = Mark.at(script.file.path, script.text, line.start("code"))
        found.append(Permission(line["code"].upper(), line["reason"].strip(), where))
    for number, statement in enumerate(() if sql else script.statements):
        comment = statement.body.get("comment")
        orch = comment.get("orch") if isinstance(comment, Mapping) else None
        allow = orch.get("allow") if isinstance(orch, Mapping) else None
        for code, reason in allow.items() if isinstance(allow, Mapping) else ():
            where = Mark(script.file.path, statement.line, 1)
            found.append(
                Permission(str(code).upper(), reason.strip() if isinstance(reason, str) else "", where, number)
            )
    return found


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
            shown = one.code or "nothing"
            found.append(Finding("LT002", one.where, f"the permission names {shown}, which is no rule"))
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
