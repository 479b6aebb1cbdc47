"""`orch repair`: what is wrong with a database, and the resolutions that it allows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.hints import NAME, Command, Hint, joined

if TYPE_CHECKING:
    from orchestrator.cli.records import OneDatabase
    from orchestrator.model import History
    from orchestrator.planning.history import State
    from orchestrator.planning.repair import Resolution, Signature


def command(
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
    file: options.File = None,
    env_file: options.EnvFile = None,
    lock_timeout: options.LockTimeout = None,
    embedded: options.Embedded = False,
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
    from orchestrator.cli.records import one_database, several
    from orchestrator.errors import UsageError

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
    if here:
        from orchestrator.cli.here import declare_here

        return declare_here(several(names or ["*"], file, env_file, embedded=embedded), reason, lock_timeout)
    if not names:
        raise UsageError(
            "no database given", hint=Hint(Command("repair", NAME), "; ", Command("status"), " lists the names")
        )
    if acknowledge is not None:
        from orchestrator.cli.acknowledge import acknowledge_gone

        return acknowledge_gone(several(names, file, env_file, embedded=embedded), acknowledge, reason, lock_timeout)
    if accept:
        return _accept(several(names, file, env_file, embedded=embedded), accept, reason, lock_timeout, output)
    if len(names) > 1:
        raise UsageError(f"{len(names)} databases are named", hint=Hint("name one: ", Command("repair", names[0])))
    one = one_database(names[0], file, env_file, embedded=embedded)
    seen = one.read()
    by = one.signature(reason)
    if not flags:
        return _show(one, seen, by, output)

    def chosen(history: History) -> Resolution:
        if mark_applied is not None and not mark_applied.isdecimal():
            return _range(one, history, by, mark_applied)
        return _chosen(one, history, by, flags[0])

    resolution = one.write(chosen, seen, lock_timeout)
    _tell([(one.id, resolution.flag, resolution.what)], output)
    return 0


def _state(one: OneDatabase, history: History) -> State:
    from orchestrator.planning.half_done import held_against_file
    from orchestrator.planning.history import reconcile

    state = reconcile(one.migrations, history, out_of_order=one.database.settings.out_of_order)
    return held_against_file(state, one.database, one.migrations, one.assembly.read_script)


def _show(one: OneDatabase, seen: History, by: Signature, output: options.Output) -> int:
    """Show what is wrong, and what can be done."""
    from orchestrator.cli.console import out, out_json, pasteable
    from orchestrator.planning.repair import next_applied, on_request, resolutions

    state = _state(one, seen)
    found = resolutions(one.migrations, seen, by)
    diffs = _diffs(one, seen, state)
    if output is options.Output.json:
        problems = [
            {"kind": problem.kind.value, "what": problem.what}
            | ({"diff": diffs[problem.version]} if problem.version in diffs else {})
            for problem in state.problems
        ]
        offered = [{"flag": f"--{resolution.flag}", "what": resolution.what} for resolution in found]
        out_json({"format": 1, "id": one.id, "problems": problems, "ways": offered})
        return 0
    lines: list[str] = [f"{one.id}: {problem.what}" for problem in state.problems]
    lines = lines or [f"{one.id}: nothing is wrong."]
    lines += ["", *(line for diff in diffs.values() for line in diff.splitlines())] if diffs else []
    if found:
        lines += ["\nWhat you can do (with --reason TEXT, the reason is kept in the history):"]
        lines += [Hint("  ", resolution.command(one.id), f"\n      {resolution.what}") for resolution in found]
    elif state.problems:
        lines += [Hint("  ", problem.hint_for(one.id)) for problem in state.problems]
    if following := next_applied(on_request(one.migrations, seen, by)):
        version = following.flag.partition(" ")[2]
        about = f"\nIf the next pending version, {version}, is in the database: "
        lines += [Hint(about, following.command(one.id))]
    out(pasteable(joined("\n", lines)))
    return 0


def _diffs(one: OneDatabase, seen: History, state: State) -> dict[int, str]:
    """Return how edited files differ from what ran, as far as the history keeps that."""
    from orchestrator.manifest.redact import redactor
    from orchestrator.operations.kept import edits
    from orchestrator.planning.problems import Kind

    if not any(problem.kind is Kind.EDITED for problem in state.problems):
        return {}
    with one.session() as session:
        return {version: redactor(diff) for version, diff in edits(session, seen, one.migrations).items()}


def _chosen(one: OneDatabase, history: History, by: Signature, flag: str) -> Resolution:
    """Return the resolution that was asked for; UsageError if the state does not allow it."""
    from orchestrator.errors import UsageError
    from orchestrator.planning.repair import next_applied, on_request, resolutions

    offered, requested = resolutions(one.migrations, history, by), on_request(one.migrations, history, by)
    for resolution in (*offered, *requested):
        if resolution.flag == flag:
            return resolution
    hint = _possible(one, history, offered)
    if following := next_applied(requested):
        about = "\npending versions are taken as applied in their order; the next: "
        hint = Hint(hint, about, following.command(one.id))
    raise UsageError(f"--{flag} does not apply to {one.id} as it stands", hint=hint)


def _range(one: OneDatabase, history: History, by: Signature, text: str) -> Resolution:
    """Return what takes a range of pending versions as applied; UsageError if they are not the next ones."""
    from orchestrator.errors import UsageError
    from orchestrator.planning.repair import marked_range
    from orchestrator.planning.squash import parse_ranges

    try:
        ranges = parse_ranges(text)
    except ValueError as error:
        raise UsageError(f"--mark-applied: {error}") from None
    if (found := marked_range(one.migrations, history, ranges, by)) is None:
        pending = ", ".join(map(str, _state(one, history).pending[:10])) or "none"
        hint = f"pending versions are taken as applied in their order, without a gap; pending: {pending}"
        raise UsageError(f"--mark-applied {text} does not apply to {one.id} as it stands", hint=hint)
    return found


def _accept(
    databases: Sequence[OneDatabase],
    wanted: Sequence[str],
    reason: str,
    lock_timeout: float | None,
    output: options.Output,
) -> int:
    """Accept edited files of one or several databases. Nothing is recorded unless each FILE means at least one."""
    from orchestrator.errors import UsageError
    from orchestrator.planning.repair import accepted, resolutions, together

    seen = {one.id: one.read() for one in databases}
    chosen: dict[str, list[str]] = {}
    for one in databases:
        found = accepted(resolutions(one.migrations, seen[one.id], one.signature(reason)))
        chosen[one.id] = [resolution.flag for resolution in found if any(_means(word, resolution) for word in wanted)]
    for word in wanted:
        meant = [flag for flags in chosen.values() for flag in flags if _means(word, flag)]
        if not meant:
            one = databases[0]
            hint = _possible(one, seen[one.id], resolutions(one.migrations, seen[one.id], one.signature(reason)))
            about = one.id if len(databases) == 1 else f"any of {len(databases)} databases"
            raise UsageError(f"--accept {shlex.quote(word)} is no file of {about} that was edited", hint=hint)
    told: list[tuple[str, str, str]] = []
    for one in databases:
        if not (flags := chosen[one.id]):
            continue

        def decide(history: History, one: OneDatabase = one, flags: Sequence[str] = flags) -> Resolution:
            offered = accepted(resolutions(one.migrations, history, one.signature(reason)))
            return together([resolution for resolution in offered if resolution.flag in flags])

        resolution = one.write(decide, seen[one.id], lock_timeout)
        told.append((one.id, resolution.flag, resolution.what))
    _tell(told, output)
    return 0


def _means(word: str, resolution: Resolution | str) -> bool:
    """Whether a FILE of the command line means the file of this resolution: a path, a name, a glob of either, a version."""
    from fnmatch import fnmatchcase
    from pathlib import Path

    path = (resolution if isinstance(resolution, str) else resolution.flag).removeprefix("accept ")
    name = path.rpartition("/")[2]
    if word.isdecimal():
        return int(word) == int(name.partition("_")[0])
    return (
        word in (path, name)
        or Path(word).resolve() == Path(path).resolve()
        or any(fnmatchcase(known, word) for known in (path, name))
    )


def _tell(told: Sequence[tuple[str, str, str]], output: options.Output) -> None:
    from orchestrator.cli.console import out, out_json, pasteable

    if output is options.Output.json:
        recorded = [{"id": id, "flag": f"--{flag}", "what": what} for id, flag, what in told]
        out_json({"format": 1, "recorded": recorded})
        return
    following = Hint("Next: ", Command("status"), ", then ", Command("apply"))
    out(pasteable(joined("\n", [*(f"{id}: recorded that {what}." for id, _, what in told), following])))


def _typed(resolution: Resolution) -> str:
    """Return the flag as a person types it in a shell."""
    kind, _, value = resolution.flag.partition(" ")
    return f"{kind} {shlex.quote(value)}" if value else kind


def _possible(one: OneDatabase, history: History, offered: Sequence[Resolution]) -> str:
    """Return what can be done instead."""
    from orchestrator.planning.problems import spoken

    if offered:
        return f"what you can do: {', '.join(f'--{_typed(one)}' for one in offered)}"
    state = _state(one, history)
    if state.problems:
        told = [Hint(f"no resolution of repair fits: {p.what}\n  ", p.hint_for(one.id)) for p in state.problems]
        return joined("\n", told)
    pending = f"{len(state.pending)} pending" if state.pending else "nothing is pending"
    return f"nothing needs repair: it is at {spoken(state.version)}, {pending}"
