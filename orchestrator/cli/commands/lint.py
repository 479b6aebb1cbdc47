"""`orch lint`: find up files that lose data or block running programs, without a server."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.scoped import scoped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.analysis.lint_report import Report
    from orchestrator.analysis.sizes import Sizes
    from orchestrator.operations.scope import Scope
    from orchestrator.operations.trace import Traced


class LintOutput(StrEnum):
    """What stdout holds."""

    text = "text"
    json = "json"
    sarif = "sarif"
    github = "github"
    gitlab = "gitlab"
    junit = "junit"


@scoped("embedded")
def command(
    *,
    names: options.Names = None,
    since: Annotated[
        int | None,
        typer.Option("--since", min=0, metavar="VERSION", help="Check only files after this version, as one plan."),
    ] = None,
    changed: Annotated[
        str | None,
        typer.Option(
            "--changed",
            metavar="[BASE]",
            help="Check only files that differ from this git commit or branch, as one plan. Without BASE: HEAD.",
        ),
    ] = None,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="CODE", help="Explain a rule and the safe alternative, and exit.")
    ] = None,
    server_version: Annotated[
        int | None,
        typer.Option("--server-version", metavar="MAJOR", help="Major version of the server that will run the files."),
    ] = None,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace",
            help="Also run the files after --since, or the pending ones, in a scratch database on the server, and show "
            "the locks, rewrites and reads of every statement. With --output text or json.",
        ),
    ] = False,
    stats: Annotated[
        str | None,
        typer.Option("--stats", metavar="FILE", help="Weigh findings by the sizes that `orch stats -o FILE` wrote."),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Weigh findings by the current sizes, which the servers report.")
    ] = False,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Put each CONCURRENTLY of the newest migration into a file of its own, if no database has run it yet.",
        ),
    ] = False,
    scope: Scope,
    output: Annotated[LintOutput, typer.Option("--output", help="Format of stdout.")] = LintOutput.text,
) -> int:
    """Check the up files for lost data, long locks, failures and changes that break running programs. Needs no server.

    Each file is checked as if all earlier files were applied. Exit code 1: a finding is an error.

    Examples:
        orch lint
        orch lint orders --since 12
        orch lint --changed origin/main
        orch lint --explain PG203
        orch lint orders --trace
        orch lint --stats sizes.json
        orch lint orders --fix
    """
    if explain is not None:
        return _explain(explain, output)
    from orchestrator.analysis.rule import ERROR
    from orchestrator.cli.console import say, say_failures
    from orchestrator.errors import UsageError
    from orchestrator.operations.lint import Request, lint
    from orchestrator.views.plain import PlainView

    if trace and (changed is not None or output not in (LintOutput.text, LintOutput.json)):
        raise UsageError("--trace goes with --output text or json, and not with --changed", hint="use --since VERSION")
    if stats is not None and live:
        raise UsageError("--stats and --live cannot be used together", hint="use one of them")
    scope = scope.just(names)
    sizes = _sizes(scope, stats) if stats is not None or live else {}
    request = Request(scope.file, names or (), since, changed, server_version, sizes)
    report = lint(request)
    if fix and _fixed(scope, report):
        report = lint(request)
    traced = None
    if trace:
        from orchestrator.operations.trace import trace_files

        traced = trace_files(scope, PlainView(say), since=since, server_version=server_version)
        say_failures((one.database, one.failure) for one in traced if one.failure)
    _show(report, output, traced, sizes)
    failed = any(one.failure for one in traced or ())
    return 1 if report.count(ERROR) or failed else 0


def _fixed(scope: Scope, report: Report) -> bool:
    """Split what can be split, tell of it and of what is left as it is, and return whether any file changed."""
    from orchestrator.cli.console import pasteable, say
    from orchestrator.operations.lint_fix import fix
    from orchestrator.views.plain import PlainView

    fixed = fix(scope, PlainView(say), report)
    for path, names in fixed.split.items():
        say(pasteable(f"fixed: {path} is now {', '.join(names)}"))
    for path, why in fixed.left.items():
        say(pasteable(f"not fixed: {path}: {why}"))
    return bool(fixed.split)


def _sizes(scope: Scope, stats: str | None) -> Mapping[str, Sizes]:
    """Return the sizes of tables by databases, of the file or from the servers; one that cannot be asked is told."""
    from orchestrator.cli.console import say, say_failures
    from orchestrator.operations.stats import measure, read_sizes
    from orchestrator.views.plain import PlainView

    if stats is not None:
        return read_sizes(stats)
    measured = measure(scope, PlainView(say))
    say_failures(measured.failed)
    return measured.sizes


def _show(report: Report, output: LintOutput, traced: Sequence[Traced] | None, sizes: Mapping[str, Sizes]) -> None:
    from orchestrator import __version__
    from orchestrator.cli.console import out, pasteable
    from orchestrator.cli.machine import located
    from orchestrator.cli.show import show
    from orchestrator.views.lint_trace import trace_document, trace_text

    more: dict[LintOutput, tuple[object, ...]] = {
        LintOutput.json: () if traced is None else (trace_document(traced),),
        LintOutput.sarif: (located, __version__),
        LintOutput.gitlab: (located,),
        LintOutput.github: (located,),
    }
    show("lint", output, report, *more.get(output, ()), finish=lambda text: pasteable(text).rstrip("\n"))
    if output is LintOutput.text and traced is not None:
        out("\n" + trace_text(traced, sizes))


def _explain(code: str, output: LintOutput) -> int:
    from orchestrator.cli.show import show
    from orchestrator.operations.lint import rule_named

    show("rule", "json" if output is LintOutput.json else "text", rule_named(code))
    return 0
