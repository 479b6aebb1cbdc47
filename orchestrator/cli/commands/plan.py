"""`orch plan`: what apply would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from orchestrator.cli import options
from orchestrator.cli.parameters import Option
from orchestrator.cli.scoped import JOBS_AND_WAIT, SELECTION, scoped
from orchestrator.hints import NAME, Command, Hint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.operations.plan import Planned
    from orchestrator.operations.scope import Scope


@scoped(*SELECTION, *JOBS_AND_WAIT, "embedded")
def command(
    *,
    to: Annotated[
        int | None,
        Option(
            "--to",
            min=0,
            metavar="VERSION",
            help="Plan up to this version, or with --down back to it. Needs --only with one database.",
        ),
    ] = None,
    down: Annotated[
        bool,
        Option("--down", help="Plan the rollback of the databases of --only, by --steps or --to."),
    ] = False,
    steps: Annotated[
        int | None, Option("--steps", min=1, metavar="N", help="With --down: the last N migrations.")
    ] = None,
    out_file: Annotated[
        str | None, Option("-o", "--out", metavar="FILE", help="Write the plan for `orch apply FILE`.")
    ] = None,
    exit_code: Annotated[bool, Option("--exit-code", help="Exit with code 3 if there are changes.")] = False,
    check: Annotated[
        bool,
        Option(
            "--check",
            help="Also run the `require` checks of the pending files, read-only. Exit with code 1 if one is not met.",
        ),
    ] = False,
    no_create: options.NoCreate = False,
    allow_out_of_order: options.AllowOutOfOrder = False,
    scope: Scope,
    output: Annotated[
        options.PlanOutput,
        Option("--output", help="Format of stdout; github: annotations, job summary and step outputs."),
    ] = options.PlanOutput.text,
) -> int:
    """Show what apply would do. Changes nothing on any server.

    Examples:
        orch plan
        orch plan -o plan.json && orch apply plan.json
        orch plan --exit-code
        orch plan --down --only inventory --steps 1
        orch plan --check
    """
    from pathlib import Path

    from orchestrator.cli.console import pasteable, say, say_failures
    from orchestrator.cli.show import show
    from orchestrator.cli.stage import ended
    from orchestrator.errors import ExitCode, UsageError
    from orchestrator.operations import rollback
    from orchestrator.operations.plan import plan
    from orchestrator.operations.risk_policy import refuse
    from orchestrator.views.document import json_pieces
    from orchestrator.views.plain import PlainView

    if output is options.PlanOutput.github:
        from orchestrator.cli import machine

        machine.begin(options.StreamOutput.github, None, scope.file)  # tells what is refused
    if down:
        _check_down(scope.only, out_file, check=check)
        planned = rollback.prepare(scope, PlainView(say), steps=steps, to=to)
    elif steps is not None:
        raise UsageError("--steps needs --down", hint=Hint(Command("plan", "--down", "--only", NAME, "--steps", steps)))
    else:
        planned = plan(scope, PlainView(say), to=to, create=not no_create, late=allow_out_of_order, checks=check)
    if out_file is not None:
        try:
            with Path(out_file).open("w", encoding="utf-8") as written_plan:
                written_plan.writelines(json_pieces(planned.plan.document()))
        except OSError as error:
            raise UsageError(f"{out_file} cannot be written: {error.strerror}") from None
        say(pasteable(Hint(f"The plan is in {out_file}; run it: ", Command("apply", out_file))))
    written = True
    if output is options.PlanOutput.github:
        written = _report(planned)
    elif output is options.PlanOutput.json:
        checks = [one.document() for one in planned.checks or ()] if check else None
        show("plan", output, planned.plan, checks, planned.later)
    else:
        show("plan", output, planned.plan, planned.risks)
    say_failures(planned.failures)
    for one in planned.checks or ():
        say(pasteable(f"check: {one}"))
    if not planned.failures:
        refuse(planned)
    if code := ended(planned.exit_code, written):
        return code
    return int(ExitCode.CHANGES) if exit_code and planned.plan.has_changes else 0


def _check_down(only: Sequence[str] | None, out_file: str | None, *, check: bool) -> None:
    """Raise UsageError for what makes no sense on the way down."""
    from orchestrator.errors import UsageError

    if not only:
        what = "--down needs --only with the databases to roll back"
        raise UsageError(what, hint=Hint(Command("plan", "--down", "--only", NAME, "--steps", 1)))
    if out_file is not None or check:
        what = f"{'--check' if check else '--out'} is not for --down"
        raise UsageError(what, hint=Hint("roll back: ", Command("rollback", only[0], "--steps", 1)))


def _report(planned: Planned) -> bool:
    """Tell GitHub: the plan for people on stderr, annotations on stdout, the rest where its variables say, if it can."""
    from orchestrator.cli.console import say
    from orchestrator.cli.machine import plan_commands, put_commands, put_outputs, put_summary
    from orchestrator.views.markdown import plan_markdown
    from orchestrator.views.text import plan_text

    plan, risks = planned.plan, planned.risks
    say(plan_text(plan, risks))
    put_commands(plan_commands(plan, risks))
    pending = sum(len(one.steps) for one in plan.databases)
    summarised = put_summary(lambda room: plan_markdown(plan, risks, room))
    return put_outputs(has_changes=plan.has_changes, applied_count=0, pending_count=pending) and summarised
