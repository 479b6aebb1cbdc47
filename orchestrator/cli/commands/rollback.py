"""`orch rollback`: take migrations back, exactly as many as asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.hints import Blank, Command, Hint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.model import Migration
    from orchestrator.planning.plan import Survey

_NUMBER = ("--steps", Blank("NUMBER"))


def command(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="The database. Several are rolled back in reverse order of their dependencies.",
            autocompletion=options.complete_name,
        ),
    ],
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", help="Roll back the last N migrations.")
    ] = None,
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            min=0,
            metavar="VERSION",
            help="Roll back every migration above this version. A migration with version 0 stays with --to 0.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    allow_missing_down: Annotated[
        bool, typer.Option("--allow-missing-down", help="If a down file is missing, change only the history.")
    ] = False,
    ignore_dependents: Annotated[
        bool,
        typer.Option(
            "--ignore-dependents", help="Roll back even if dependent databases still have applied migrations."
        ),
    ] = False,
    file: options.File = None,
    env_file: options.EnvFile = None,
    wait: options.Wait = 0.0,
    lock_timeout: options.LockTimeout = None,
    embedded: options.Embedded = False,
    output: options.StreamOption = options.StreamOutput.text,
    verbose: options.Verbose = False,
) -> int:
    """Roll back applied migrations. Shows a plan and asks before it runs.

    Examples:
        orch rollback inventory --steps 1
        orch rollback inventory order --to 0 --yes
    """
    import sys
    from dataclasses import replace

    from orchestrator import __version__
    from orchestrator.cli.console import confirmed, is_terminal, paint_dangers, say
    from orchestrator.cli.planning import hazards_of
    from orchestrator.cli.stage import Broadcast, execute, planning, when_machines_read
    from orchestrator.errors import InterruptedRunError, UsageError
    from orchestrator.execution.survey import survey
    from orchestrator.model import Direction
    from orchestrator.operations.assembly import assemble
    from orchestrator.planning.plan import Request, make_plan
    from orchestrator.views.text import plan_text

    broadcast = Broadcast()
    when_machines_read(output, broadcast, None, file)
    if (steps is None) == (to is None):
        raise UsageError("say how far: --steps N or --to VERSION", hint=Hint(Command("rollback", *names, "--steps", 1)))
    if not yes and not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise UsageError("rollback asks before it runs, and there is no terminal to ask on", hint="give --yes")
    if to and len(names) > 1:
        raise UsageError("--to VERSION is for one database", hint="--to 0 and --steps N serve several")
    databases = assemble(file, env_file, names, None, no_deps=True).databases
    chosen = {database.id for database in databases}
    others = [] if ignore_dependents else _dependents(file, env_file, chosen)
    assembly = assemble(file, env_file, [*chosen, *others], None, no_deps=True)
    run = assembly.run(broadcast, embedded=embedded, wait=wait, lock_timeout=lock_timeout)
    with planning(broadcast, output):
        surveys = survey(run)
    for other in others:
        _refuse_while_up(run.catalogs[other], surveys[other], other, Command("rollback", other, *_NUMBER))
    if assembly.manifest.dependents and not ignore_dependents and not embedded:
        from orchestrator.operations.external import above

        for one, migrations, found in above(run, assembly):
            command = Command("rollback", "-f", one.path, one.database.id, *_NUMBER)
            _refuse_while_up(migrations, found, str(one), command)
    request = Request(Direction.DOWN, to=to, steps=steps, allow_missing_down=allow_missing_down)
    plan = make_plan(databases, run.catalogs, surveys, run.read_script, request, __version__)
    if plan.failures:  # all of them or none: only what stands in the way is told
        refused = tuple(planned for planned in plan.databases if planned.failure)
        return execute(run, replace(plan, databases=refused), broadcast, output)
    say(paint_dangers(plan_text(plan, hazards_of(run, plan)), sys.stderr))
    if not plan.has_changes:
        say("Nothing to take back.")
        return 0 if output is options.StreamOutput.text else execute(run, plan, broadcast, output)
    if not yes and not confirmed("to run this"):
        raise InterruptedRunError("not confirmed: nothing was changed")
    return execute(run, plan, broadcast, output, verbose=verbose)


def _dependents(file: str | None, env_file: str | None, chosen: set[str]) -> list[str]:
    """Return what depends on the chosen databases, and is not chosen itself."""
    from orchestrator.operations.assembly import assemble
    from orchestrator.planning.graph import dependants

    databases = assemble(file, env_file).databases
    dependencies = {database.id: database.depends_on for database in databases}
    above = set().union(*(dependants(dependencies, id) for id in chosen)) - chosen
    return [database.id for database in databases if database.id in above]


def _refuse_while_up(migrations: Sequence[Migration], found: Survey, named: str, command: Command) -> None:
    """A database must not lose what another still builds on. `command` is how that is rolled back."""
    from orchestrator.errors import ConflictError
    from orchestrator.planning.history import reconcile
    from orchestrator.planning.problems import spoken

    hint = Hint("roll it back too: ", command, "; or --ignore-dependents")
    if found.failure:
        raise ConflictError(
            f"cannot tell whether {named}, which depends on it, is still up", detail=found.failure.what, hint=hint
        )
    state = reconcile(migrations, found.history, out_of_order=True)
    if state.applied or state.partial:
        raise ConflictError(f"{named} depends on it and is still at {spoken(state.version)}", hint=hint)
