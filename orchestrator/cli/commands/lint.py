"""`orch lint`: find up files that lose data or block running programs, without a server."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.analysis.lint_report import Report
    from orchestrator.model import Size
    from orchestrator.scratch.trace import Traced


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
    live: Annotated[bool, typer.Option("--live", help="Weigh findings by sizes that the servers tell now.")] = False,
    env_file: options.EnvFile = None,
    embedded: options.Embedded = False,
    output: Annotated[LintOutput, typer.Option("--output", help="Format of stdout.")] = LintOutput.text,
) -> int:
    """Check up files for lost data, long locks, failures and changes that break running programs. Needs no server.

    Each file is checked as if all earlier files were applied. Exit code 1: a finding is an error.

    Examples:
        orch lint
        orch lint orders --since 12
        orch lint --changed origin/main
        orch lint --explain PG203
        orch lint orders --trace
        orch lint --stats sizes.json
    """
    if explain is not None:
        return _explain(explain, output)
    from orchestrator.analysis.rules import ERROR
    from orchestrator.errors import UsageError
    from orchestrator.operations.lint import Request, lint

    if trace and (changed is not None or output not in (LintOutput.text, LintOutput.json)):
        raise UsageError("--trace goes with --output text or json, and not with --changed", hint="use --since VERSION")
    if stats is not None and live:
        raise UsageError("--stats and --live cannot be used together", hint="use one of them")
    sizes = _sizes(file, names, env_file, stats, embedded=embedded) if stats is not None or live else {}
    report = lint(Request(file, names or (), since, changed, server_version, sizes))
    found = _traced(file, names, env_file, since, server_version, embedded=embedded) if trace else None
    _show(report, output, found, sizes)
    failed = any(one.failure for one in found or ())
    return 1 if report.count(ERROR) or failed else 0


def _sizes(
    file: str | None, names: list[str] | None, env_file: str | None, stats: str | None, *, embedded: bool
) -> dict[str, dict[str, Size]]:
    """Return the sizes of tables by databases, of the file or from the servers; one that cannot be asked is told."""
    from orchestrator.cli.console import say, say_failures
    from orchestrator.operations.assembly import assemble
    from orchestrator.operations.stats import live_sizes, read_sizes
    from orchestrator.views.plain import PlainView

    if stats is not None:
        return read_sizes(stats)
    assembly = assemble(file, env_file, names, no_deps=bool(names))
    found, failed = live_sizes(assembly.run(PlainView(say), embedded=embedded))
    say_failures(failed)
    return found


def _traced(
    file: str | None,
    names: list[str] | None,
    env_file: str | None,
    since: int | None,
    server_version: int | None,
    *,
    embedded: bool,
) -> list[Traced]:
    from orchestrator.cli.console import say, say_failures
    from orchestrator.operations.assembly import assemble
    from orchestrator.scratch.trace import trace
    from orchestrator.views.plain import PlainView

    assembly = assemble(file, env_file, names, no_deps=bool(names))
    found = trace(assembly.run(PlainView(say), embedded=embedded), since=since, version=server_version or 0)
    say_failures((one.database, one.failure) for one in found if one.failure)
    return found


def _show(
    report: Report, output: LintOutput, traced: Sequence[Traced] | None, sizes: Mapping[str, Mapping[str, Size]]
) -> None:
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
