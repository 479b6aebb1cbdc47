"""`orch repair`: list what is wrong with a database, and apply a resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.scoped import scoped
from orchestrator.hints import NAME, Command, Hint

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped("lock_timeout", "embedded")
def command(
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...",
            help="The database. --accept, --acknowledge and --here take several: names, globs or label:NAME. "
            "Default for --here: all.",
            autocompletion=options.complete_pattern,
        ),
    ] = None,
    mark_applied: Annotated[
        str | None,
        typer.Option(
            "--mark-applied",
            metavar="VERSION",
            help="Record that this version, or a range such as 3-5, is in the database, as after a manual hotfix.",
        ),
    ] = None,
    mark_not_applied: Annotated[
        int | None,
        typer.Option(
            "--mark-not-applied", metavar="VERSION", help="Record that nothing of this version is in the database."
        ),
    ] = None,
    statement_done: Annotated[
        bool, typer.Option("--statement-done", help="Record that the statement in doubt was executed.")
    ] = False,
    statement_not_done: Annotated[
        bool,
        typer.Option("--statement-not-done", help="Record that it was not executed, so that the next run executes it."),
    ] = False,
    continue_: Annotated[
        bool, typer.Option("--continue", help="Continue a partial migration where it stopped.")
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="FILE",
            help="Accept the edit of an applied file, given by path, name, glob or version. Repeatable.",
        ),
    ] = None,
    keep_version: Annotated[
        int | None,
        typer.Option(
            "--keep-version",
            metavar="VERSION",
            help="Of several rows in golang-migrate's version table, keep the one with this version.",
        ),
    ] = None,
    renumber: Annotated[
        str | None,
        typer.Option(
            "--renumber", metavar="OLD=NEW", help="Record that the applied file of version OLD now has version NEW."
        ),
    ] = None,
    acknowledge: Annotated[
        str | None,
        typer.Option(
            "--acknowledge",
            metavar="VERSIONS",
            help="Record that the files of these applied versions were removed on purpose: 1-60 or 3,5.",
        ),
    ] = None,
    here: Annotated[
        bool,
        typer.Option(
            "--here", help="Record that the history belongs to this database, as after a move to another server."
        ),
    ] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Keep this reason in the history.")] = "",
    scope: Scope,
    output: options.OutputOption = options.Output.text,
) -> int:
    """List possible resolutions for a database; with a flag, apply one.

    A resolution changes only the history and the version table. It runs no migration and removes no history.

    In a healthy database, --mark-applied marks the next pending version applied, and --mark-not-applied undoes it.

    Examples:
        orch repair inventory
        orch repair inventory --mark-applied 3 --reason "finished by hand"
        orch repair '*' --accept '*'
    """
    from orchestrator.cli.show import show
    from orchestrator.cli.stage import record, waiting
    from orchestrator.errors import UsageError
    from orchestrator.operations import repair

    names = names or []
    flags = [
        *([f"mark-applied {mark_applied}"] if mark_applied is not None else []),
        *([f"mark-not-applied {mark_not_applied}"] if mark_not_applied is not None else []),
        *(["statement-done"] if statement_done else []),
        *(["statement-not-done"] if statement_not_done else []),
        *(["continue"] if continue_ else []),
        *(["accept"] if accept else []),
        *([f"keep-version {keep_version}"] if keep_version is not None else []),
        *([f"renumber {renumber}"] if renumber is not None else []),
        *([f"acknowledge {acknowledge}"] if acknowledge is not None else []),
        *(["here"] if here else []),
    ]
    if len(flags) > 1:
        raise UsageError("one resolution at a time", hint=Hint(Command("repair", *names)))
    if not names and not here:
        raise UsageError(
            "no database given", hint=Hint(Command("repair", NAME), "; ", Command("status"), " lists the names")
        )
    scope = scope.just(names or ["*"])
    sink = waiting()
    if here:
        return record(repair.declare_here(scope, sink, reason), "recorded", output, following=False)
    if acknowledge is not None:
        return record(repair.acknowledge_gone(scope, sink, acknowledge, reason), "recorded", output, following=False)
    if accept:
        return record(repair.accept(scope, sink, accept, reason), "recorded", output)
    if len(names) > 1:
        raise UsageError(f"{len(names)} databases are named", hint=Hint("name one: ", Command("repair", names[0])))
    if not flags:
        show("repair", output, repair.examine(scope, sink, names[0]))
        return 0
    return record(repair.resolve(scope, sink, names[0], flags[0], reason), "recorded", output)
