"""`orch plan`: what apply would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.execution.scheduler import JOBS, JOBS_PER_SERVER
from orchestrator.hints import Command, Hint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.analysis.risks import Risk
    from orchestrator.planning.plan import Plan


def command(
    file: options.File = None,
    env_file: options.EnvFile = None,
    only: options.Only = None,
    exclude: options.Exclude = None,
    no_deps: options.NoDeps = False,
    to: Annotated[
        int | None,
        typer.Option("--to", min=0, metavar="VERSION", help="Plan up to this version. Needs --only with one database."),
    ] = None,
    out_file: Annotated[
        str | None, typer.Option("-o", "--out", metavar="FILE", help="Write the plan for `orch apply FILE`.")
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with code 3 if there are changes.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Also run the `require` checks of the pending files, read-only. Exit with code 1 if one is not met.",
        ),
    ] = False,
    no_create: options.NoCreate = False,
    allow_out_of_order: options.AllowOutOfOrder = False,
    jobs: options.Jobs = JOBS,
    jobs_per_server: options.JobsPerServer = JOBS_PER_SERVER,
    wait: options.Wait = 0.0,
    embedded: options.Embedded = False,
    output: Annotated[
        options.PlanOutput,
        typer.Option("--output", help="Format of stdout; github: annotations, job summary and step outputs."),
    ] = options.PlanOutput.text,
) -> int:
    """Show what apply would do. Changes nothing on any server.

    Examples:
        orch plan
        orch plan -o plan.json && orch apply plan.json
        orch plan --exit-code
        orch plan --check
    """
    import sys
    from pathlib import Path

    from orchestrator.cli import consent
    from orchestrator.cli.console import out, out_json, paint_dangers, pasteable, say, say_failures
    from orchestrator.cli.planning import hazards_of, planned, up_to, with_notes
    from orchestrator.errors import ExitCode, UsageError, exit_code_of
    from orchestrator.operations.assembly import assemble
    from orchestrator.views.plain import PlainView
    from orchestrator.views.text import plan_text

    if output is options.PlanOutput.github:
        from orchestrator.cli import machine

        machine.begin(options.StreamOutput.github, None, file)  # tells what is refused
    assembly = assemble(file, env_file, only, exclude, no_deps=no_deps)
    assembly.permit(create=not no_create, late=allow_out_of_order)
    run = assembly.run(PlainView(say), embedded=embedded, jobs=jobs, jobs_per_server=jobs_per_server, wait=wait)
    outside = None
    if not embedded and not no_deps and any(one.external for one in assembly.databases):
        from orchestrator.operations.external import watch

        outside = watch(run, assembly)
    plan = planned(run, assembly, up_to(assembly, to, only))
    if outside is not None:
        plan = with_notes(plan, outside.waits_for)
    asked = None
    if check:
        from orchestrator.operations.checks import ask_checks

        asked = ask_checks(run, plan)
    if out_file is not None:
        try:
            Path(out_file).write_text(plan.to_json(), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{out_file} cannot be written: {error.strerror}") from None
        say(pasteable(Hint(f"The plan is in {out_file}; run it: ", Command("apply", out_file))))
    written, risks = True, hazards_of(run, plan)
    if output is options.PlanOutput.github:
        written = _report(plan, risks)
    elif output is options.PlanOutput.markdown:
        from orchestrator.views.markdown import plan_markdown

        out(plan_markdown(plan, risks))
    elif output is options.PlanOutput.json:
        document = plan.document()
        if asked is not None:
            document["checks"] = [one.document() for one in asked]
        out_json(document)
    else:
        out(paint_dangers(plan_text(plan, risks), sys.stdout))
    say_failures((database.id, database.failure) for database in plan.databases if database.failure)
    for one in asked or ():
        say(pasteable(f"check: {one}"))
    if plan.failures:
        return exit_code_of(failure.exit_code for failure in plan.failures)
    consent.refuse(run.databases, risks)
    if not written or any(one.stops for one in asked or ()):
        return int(ExitCode.FAILED)
    return int(ExitCode.CHANGES) if exit_code and plan.has_changes else 0


def _report(plan: Plan, risks: Mapping[str, Sequence[Risk]]) -> bool:
    """Tell GitHub: the plan for people on stderr, annotations on stdout, the rest where its variables say, if it can."""
    from orchestrator.cli.console import say
    from orchestrator.cli.machine import plan_commands, put_commands, put_outputs, put_summary
    from orchestrator.views.markdown import plan_markdown
    from orchestrator.views.text import plan_text

    say(plan_text(plan, risks))
    put_commands(plan_commands(plan, risks))
    pending = sum(len(planned.steps) for planned in plan.databases)
    summarised = put_summary(lambda room: plan_markdown(plan, risks, room))
    return put_outputs(has_changes=plan.has_changes, applied_count=0, pending_count=pending) and summarised
