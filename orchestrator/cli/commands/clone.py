"""`orch clone`: a fresh migrated copy of a database."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from orchestrator.model import Target
    from orchestrator.operations.assembly import Assembly


def command(
    name: options.Name,
    wanted: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Name of the copy. Default: a new, unique name.")
    ] = "",
    seeds: Annotated[
        bool, typer.Option("--seeds/--no-seeds", help="Include or skip migrations with `seed` in their name.")
    ] = True,
    pid: Annotated[
        int | None,
        typer.Option(
            "--pid",
            min=1,
            metavar="PID",
            help="Tie the clone to process PID: the next orch run after it has exited drops the clone.",
        ),
    ] = None,
    file: options.File = None,
    env_file: options.EnvFile = None,
    wait: options.Wait = 0.0,
    embedded: options.Embedded = False,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Create a fresh migrated copy of a database on its server, and print the name of the copy.

    The first call migrates a template; the others copy that, in the time that a copy takes, however many migrations.

    Examples:
        orch clone order
        orch clone order --as order_test
        NAME=$(orch clone order --pid $$)
    """
    from orchestrator.cli.console import out, out_json, say
    from orchestrator.errors import UsageError
    from orchestrator.manifest.retarget import without_password
    from orchestrator.operations.assembly import assemble
    from orchestrator.scratch.clones import Cloner
    from orchestrator.views.plain import PlainView

    if wanted and pid:
        raise UsageError("--as and --pid exclude each other", hint="the name is what tells whose a copy is")
    assembly = assemble(file, env_file, [name], None, no_deps=True)
    if len(assembly.databases) != 1:
        raise UsageError(f"'{name}' names {len(assembly.databases)} databases", hint="name one")
    database = assembly.databases[0]
    cloner = Cloner(assembly.run(PlainView(say), embedded=embedded, wait=wait), seeds)
    if wanted:
        _refuse_declared(assembly, cloner.run.targets[database.id], wanted, embedded)
    cloner.drop_left_behind([database.id])
    target = cloner.clone(database.id, wanted, pid=pid)
    if output is options.Output.json:
        facts = {"id": database.id, "engine": database.engine, "name": target.database, "endpoint": target.endpoint}
        out_json({"format": 1, **facts, "dsn": without_password(target)})
    else:
        out(target.database)
    return 0


def _refuse_declared(assembly: Assembly, target: Target, wanted: str, embedded: bool) -> None:
    """Refuse the name of a database that the manifest has on this server, whether it is there yet or not."""
    from orchestrator.errors import InvalidError, UsageError

    for other in assembly.manifest.databases:
        if other.engine == target.engine:
            with suppress(InvalidError):  # what it needs is not in the environment, so it is on another server
                theirs = replace(assembly, databases=(other,)).targets(embedded=embedded)[other.id]
                if (theirs.endpoint, theirs.database) == (target.endpoint, wanted):
                    raise UsageError(f"'{wanted}' is {other.id} itself", hint="name the copy otherwise")
