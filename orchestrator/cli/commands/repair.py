"""`orch repair`: the facts, and the sensible ways on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from orchestrator.model import History
    from orchestrator.planning.history import State
    from orchestrator.planning.repair import Way


def command(
    name: options.Name,
    mark_applied: Annotated[
        int | None,
        typer.Option(
            "--mark-applied", metavar="VERSION", help="All of it is in the database, as after a hotfix by hand."
        ),
    ] = None,
    mark_not_applied: Annotated[
        int | None, typer.Option("--mark-not-applied", metavar="VERSION", help="Nothing of it is in the database.")
    ] = None,
    statement_done: Annotated[bool, typer.Option("--statement-done", help="The statement in doubt was done.")] = False,
    statement_not_done: Annotated[
        bool, typer.Option("--statement-not-done", help="It was not done: run it again.")
    ] = False,
    continue_: Annotated[bool, typer.Option("--continue", help="Go on where it stopped.")] = False,
    accept: Annotated[
        str | None, typer.Option("--accept", metavar="FILE", help="Accept the edit of an applied file.")
    ] = None,
    keep_version: Annotated[
        int | None,
        typer.Option(
            "--keep-version",
            metavar="VERSION",
            help="Of several rows in golang-migrate's version table, keep the one with this version.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, if you want it kept in the history.")] = "",
    file: options.File = None,
    env_file: options.EnvFile = None,
    lock_timeout: options.LockTimeout = None,
    embedded: options.Embedded = False,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Show what is wrong with a database and the ways on; with a flag, take that way. Runs no migration, loses no history.

    Where nothing is wrong, --mark-applied takes the next pending version as applied, and --mark-not-applied takes that back.

    Examples: orch repair inventory · orch repair inventory --mark-applied 3 --reason "finished by hand"
    """
    from orchestrator.cli.console import out, out_json, pasteable
    from orchestrator.cli.records import OneDatabase
    from orchestrator.errors import UsageError
    from orchestrator.planning.history import reconcile
    from orchestrator.planning.plan import held_against_file
    from orchestrator.planning.repair import next_applied, on_request, ways

    flags = [
        *([f"mark-applied {mark_applied}"] if mark_applied is not None else []),
        *([f"mark-not-applied {mark_not_applied}"] if mark_not_applied is not None else []),
        *(["statement-done"] if statement_done else []),
        *(["statement-not-done"] if statement_not_done else []),
        *(["continue"] if continue_ else []),
        *([f"accept {accept}"] if accept is not None else []),
        *([f"keep-version {keep_version}"] if keep_version is not None else []),
    ]
    if len(flags) > 1:
        raise UsageError("one way at a time", hint=f"orch repair {name}")
    one = OneDatabase(name, file, env_file, embedded=embedded)
    seen = one.read()
    by = one.signature(reason)

    def state_of(history: History) -> State:
        state = reconcile(one.migrations, history, out_of_order=one.database.settings.out_of_order)
        return held_against_file(state, one.database, one.migrations, one.assembly.read_script)

    def chosen(history: History) -> Way:
        offered, requested = ways(one.migrations, history, by), on_request(one.migrations, history, by)
        if (way := _chosen((*offered, *requested), flags[0])) is not None:
            return way
        hint = (
            f"the ways are: {', '.join(f'--{way.flag}' for way in offered)}"
            if offered
            else _no_way(state_of(history), one.id)
        )
        if following := next_applied(requested):
            hint += f"\npending versions are taken as applied in their order; the next: orch repair {one.id} --{following.flag}"
        raise UsageError(f"--{flags[0]} makes no sense for {one.id} as it stands", hint=hint)

    if flags:
        way = one.write(chosen, seen, lock_timeout)
        out(pasteable(f"{one.id}: recorded that {way.what}.\nNext: orch status, then orch apply"))
        return 0
    state = state_of(seen)
    found = ways(one.migrations, seen, by)
    if output is options.Output.json:
        problems = [{"kind": problem.kind.value, "what": problem.what} for problem in state.problems]
        out_json(
            {
                "format": 1,
                "id": one.id,
                "problems": problems,
                "ways": [{"flag": f"--{w.flag}", "what": w.what} for w in found],
            }
        )
        return 0
    lines = [f"{one.id}: {problem.what}" for problem in state.problems] or [f"{one.id}: nothing is wrong."]
    if found:
        lines += ["", "Ways on (with --reason TEXT, the reason is kept in the history):"]
        lines += [f"  orch repair {one.id} --{way.flag}\n      {way.what}" for way in found]
    elif state.problems:
        lines += [f"  {problem.hint.replace('NAME', one.id)}" for problem in state.problems]
    if following := next_applied(on_request(one.migrations, seen, by)):
        version = following.flag.partition(" ")[2]
        lines += [
            "",
            f"If the next pending version, {version}, is in the database: orch repair {one.id} --{following.flag}",
        ]
    out(pasteable("\n".join(lines)))
    return 0


def _chosen(offered: tuple[Way, ...], flag: str) -> Way | None:
    from pathlib import Path

    kind, _, value = flag.partition(" ")
    for way in offered:
        same = way.flag == flag or (
            kind == "accept"
            and way.flag.startswith("accept ")
            and Path(way.flag[7:]).resolve() == Path(value).resolve()
        )
        if same:
            return way
    return None


def _no_way(state: State, id: str) -> str:
    from orchestrator.planning.history import spoken

    if state.problems:
        hints = [problem.hint.replace("NAME", id) for problem in state.problems]
        return "\n".join(
            f"no repair mends this: {p.what}\n  {hint}" for p, hint in zip(state.problems, hints, strict=True)
        )
    pending = f"{len(state.pending)} pending" if state.pending else "nothing is pending"
    return f"nothing needs repair: it is at {spoken(state.version)}, {pending}"
