"""`orch lint`: find up files that lose data or block running programs, without a server."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from orchestrator.analysis.lint_report import Report


class LintOutput(StrEnum):
    """What stdout holds."""

    text = "text"
    json = "json"
    sarif = "sarif"
    github = "github"
    gitlab = "gitlab"
    junit = "junit"


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="The databases: names, globs or label:NAME. Default: all.",
            autocompletion=options.complete_pattern,
        ),
    ] = None,
    file: options.File = None,
    since: Annotated[
        int | None,
        typer.Option("--since", min=0, metavar="VERSION", help="Check only files after this version, as one plan."),
    ] = None,
    changed: Annotated[
        str | None,
        typer.Option(
            "--changed",
            metavar="BASE",
            help="Check only files that differ from this git commit or branch, as one plan.",
        ),
    ] = None,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="CODE", help="Explain a rule and the safe alternative, and exit.")
    ] = None,
    server_version: Annotated[
        int | None,
        typer.Option("--server-version", metavar="MAJOR", help="Major version of the server that will run the files."),
    ] = None,
    output: Annotated[LintOutput, typer.Option("--output", help="Format of stdout.")] = LintOutput.text,
) -> int:
    """Check up files for lost data, long locks, failures and changes that break running programs. Needs no server.

    Each file is checked as if all earlier files were applied. Exit code 1: a finding is an error.

    Examples:
        orch lint
        orch lint orders --since 12
        orch lint --changed origin/main
        orch lint --explain PG203
    """
    if explain is not None:
        return _explain(explain, output)
    from orchestrator.analysis.rules import ERROR
    from orchestrator.operations.lint import Request, lint

    report = lint(Request(file, names or (), since, changed, server_version))
    _show(report, output)
    return 1 if report.count(ERROR) else 0


def _show(report: Report, output: LintOutput) -> None:
    from orchestrator import __version__
    from orchestrator.cli.console import out, out_json, pasteable
    from orchestrator.cli.machine import located, put_commands
    from orchestrator.views import lint_reports
    from orchestrator.views.lint import lint_text

    if output is LintOutput.text:
        out(pasteable(lint_text(report)))
    elif output is LintOutput.json:
        out_json(lint_reports.lint_document(report))
    elif output is LintOutput.sarif:
        out_json(lint_reports.sarif_document(report, located, __version__))
    elif output is LintOutput.gitlab:
        out_json(lint_reports.gitlab_document(report, located))
    elif output is LintOutput.junit:
        out(lint_reports.junit_text(report).rstrip("\n"))
    else:
        put_commands(lint_reports.github_commands(report, located))


def _explain(code: str, output: LintOutput) -> int:
    from dataclasses import asdict
    from difflib import get_close_matches

    from orchestrator.analysis.rules import rules
    from orchestrator.cli.console import out, out_json
    from orchestrator.errors import UsageError
    from orchestrator.views.lint import rule_text

    rule = rules().get(code.upper())
    if rule is None:
        near = get_close_matches(code.upper(), rules(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"the rules are {', '.join(rules())}"
        raise UsageError(f"there is no lint rule {code!r}", hint=hint)
    if output is LintOutput.json:
        out_json({"format": 1, **asdict(rule), "safe": [{"file": name, "text": text} for name, text in rule.safe]})
    else:
        out(rule_text(rule))
    return 0
