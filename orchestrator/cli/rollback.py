"""`orch rollback`: take migrations back, exactly as many as asked for."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options


def command(
    name: Annotated[str, typer.Argument(help="The database.")],
    steps: Annotated[int | None, typer.Option("--steps", min=1, metavar="N", help="Take back the last N migrations.")] = None,
    to: Annotated[int | None, typer.Option("--to", min=0, metavar="VERSION", help="Take back all above this version; 0: all.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    allow_missing_down: Annotated[
        bool, typer.Option("--allow-missing-down", help="Where a down file is missing, take back the record alone.")
    ] = False,
    file: options.File = None,
    env_file: options.EnvFile = None,
    wait: options.Wait = 0.0,
    lock_timeout: options.LockTimeout = 60.0,
    embedded: options.Embedded = False,
    output: options.StreamOption = options.StreamOutput.text,
) -> int:
    """Run down migrations of one database. Shows them and asks first.

    Examples: orch rollback inventory --steps 1 · orch rollback postgres-order --to 2 --yes
    """
    import sys

    from orchestrator.cli.assembly import assemble
    from orchestrator.cli.console import is_terminal, say
    from orchestrator.cli.planning import planned
    from orchestrator.cli.stage import Broadcast, execute, when_json_lines
    from orchestrator.errors import ConflictError, UsageError
    from orchestrator.model import Direction
    from orchestrator.plan import Request
    from orchestrator.views.text import plan_text

    if (steps is None) == (to is None):
        raise UsageError("say how far: --steps N or --to VERSION", hint="orch rollback inventory --steps 1")
    if not yes and not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise UsageError("rollback asks before it runs, and there is no terminal to ask on", hint="give --yes")
    assembly = assemble(file, env_file, [name], None, no_deps=True)
    if len(assembly.databases) != 1:
        raise UsageError(f"'{name}' names {len(assembly.databases)} databases", hint="rollback takes one")
    broadcast = Broadcast()
    when_json_lines(output, broadcast, assembly.run_id)
    run = assembly.run(broadcast, embedded=embedded, wait=wait, lock_timeout=lock_timeout)
    request = Request(Direction.DOWN, to=to, steps=steps, allow_missing_down=allow_missing_down)
    plan = planned(run, assembly, request)
    if plan.failures:
        return execute(run, plan, broadcast, output)
    say(plan_text(plan))
    if not plan.has_changes:
        say("Nothing to take back.")
        return 0
    if not yes and not _confirmed():
        raise ConflictError("not confirmed", hint="nothing was changed")
    return execute(run, plan, broadcast, output)


def _confirmed() -> bool:
    answer: str = typer.prompt("Type 'yes' to run this", default="", show_default=False, err=True)
    return answer.strip() == "yes"
