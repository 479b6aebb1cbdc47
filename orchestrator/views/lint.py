"""Findings of `orch lint` for people: with the line and a caret, and a rule explained."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from orchestrator.analysis.lint_report import Report, Told
from orchestrator.analysis.rule import ERROR, WARN, Rule
from orchestrator.analysis.sizes import shown
from orchestrator.hints import Command, Hint


def lint_text(report: Report) -> Hint:
    """Return all findings, each with its line, a sentence about them, and the command that explains one."""
    lines = [line for told in report.findings for line in _finding(told)]
    text = Hint("\n".join([*lines, _sentence(report)]))
    if not report.findings:
        return text
    return text + Hint("\nFor the safe way: ", Command("lint", "--explain", report.findings[0].finding.code))


def _finding(told: Told) -> list[str]:
    finding = told.finding
    locked = finding.locked or finding.table
    on = f" ({finding.lock} on {locked})" if finding.lock and locked else ""
    size = f"; {shown(finding.table, told.size)}" if told.size else ""
    lines = [f"{finding.where}: {told.level} {finding.code}: {finding.what}{on}{size}"]
    if told.line:
        number = f"{finding.where.line:>6}"
        before = told.line[: max(0, finding.where.column - 1)]
        indent = "".join(char if char == "\t" else " " for char in before)
        lines += [f"{number} | {told.line}", f"{' ' * len(number)} | {indent}^"]
    return [*lines, ""]


def _sentence(report: Report) -> str:
    counts = ", ".join([_some(report.count(ERROR), "error"), _some(report.count(WARN), "warning")])
    allowed = f", {report.allowed:,} allowed" if report.allowed else ""
    return f"{counts}{allowed} in {_some(report.files, 'file')} of {_some(report.databases, 'database')}."


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def rule_text(rule: Rule) -> str:
    """Return a rule with its reason and the safe way, as files that can be copied."""
    lines = [f"{rule.code}: {rule.title}", "", rule.why, ""]
    lines += [
        f"  Level:     {rule.level}",
        f"  Lock:      {rule.lock}",
        f"  Blocks:    {rule.blocks}",
        f"  Work:      {rule.work}",
        f"  Versions:  {rule.versions}",
        "",
        "Example:",
        "",
        *(f"    {line}" for line in rule.example.splitlines()),
        "",
        "The safe way:",
        "",
        *([rule.advice, ""] if rule.advice else []),
    ]
    for name, text in rule.safe:
        lines += [f"  {name}", *(f"    {line}" for line in text.rstrip("\n").splitlines()), ""]
    if rule.code.startswith(("PG", "MY")):
        lines.append(f"To allow it in one file, write above its first statement: -- orch: allow {rule.code} REASON")
    elif rule.code.startswith("MG"):
        lines.append(f'To allow it for one command: "comment": {{"orch": {{"allow": {{"{rule.code}": "REASON"}}}}}}')
    return "\n".join(lines).rstrip()


def rule_document(rule: Rule) -> dict[str, Any]:
    """Return a rule as plain data."""
    return {"format": 1, **asdict(rule), "safe": [{"file": name, "text": text} for name, text in rule.safe]}


def rule_markdown(rule: Rule) -> str:
    """Return a rule as a section of the documentation."""
    language = "json" if rule.code.startswith("MG") else "sql"
    lines = [f"### {rule.code}: {rule.title}", "", rule.why, ""]
    lines += [
        "| level | lock | blocks | work | versions |",
        "|---|---|---|---|---|",
        f"| {rule.level} | {rule.lock} | {rule.blocks} | {rule.work} | {rule.versions} |",
        "",
        f"```{language}",
        rule.example,
        "```",
        "",
    ]
    lines += [f"The safe way: {rule.advice}", ""] if rule.advice else []
    for name, text in rule.safe:
        lines += [f"`{name}`:", "", f"```{language}", text.rstrip("\n"), "```", ""]
    return "\n".join(lines)
