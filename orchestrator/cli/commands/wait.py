"""`orch wait`: until other databases are migrated. It only reads, and needs no credentials but theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.engines import dialect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.events import Failure
    from orchestrator.execution.run import Run
    from orchestrator.model import Database, Migration
    from orchestrator.planning.plan import Survey


def command(
    wanted: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="NAME[@VERSION]",
            help="Wait for this database, or for one version of it. Repeatable. Default: every database.",
            autocompletion=options.complete_name,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=0, callback=options.finite, metavar="SECONDS", help="Give up after SECONDS (exit code 8)."
        ),
    ] = 600.0,
    every: Annotated[
        float,
        typer.Option(
            "--every", min=0.1, callback=options.finite, metavar="SECONDS", help="Polling interval in seconds."
        ),
    ] = 1.0,
    file: options.File = None,
    env_file: options.EnvFile = None,
    embedded: options.Embedded = False,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Wait until databases are migrated. Use it in an init container or a CI job.

    Exit code 5: a history conflict, which waiting does not resolve. Exit code 8: not migrated in time.

    Examples:
        orch wait
        orch wait --for order --for user@2 --timeout 600
    """
    import time

    from orchestrator.cli.console import out, out_json, say
    from orchestrator.errors import NotYetError
    from orchestrator.manifest.names import resolve_name
    from orchestrator.operations.assembly import assemble
    from orchestrator.views.plain import PlainView

    versions = dict(map(_parse, wanted or ()))
    assembly = assemble(file, env_file, list(versions), None, no_deps=bool(versions))
    upto: dict[str, int | None] = dict.fromkeys(database.id for database in assembly.databases)
    upto |= {resolve_name(assembly.databases, name).id: version for name, version in versions.items()}
    run = assembly.run(PlainView(say), embedded=embedded, wait=timeout)
    deadline = time.monotonic() + timeout
    told = ""
    while True:
        surveys = _look(run)
        over = time.monotonic() >= deadline
        missing = [
            f"{database.id}: {reason}"
            for database in assembly.databases
            if (reason := _missing(database, run.catalogs[database.id], surveys[database.id], upto[database.id], over))
        ]
        if not missing:
            if output is options.Output.json:
                out_json({"format": 1, "databases": [{"id": id, "result": "migrated"} for id in upto]})
            else:
                out("\n".join(f"{id} is migrated." for id in upto))
            return 0
        state = "; ".join(missing)
        if over:
            raise NotYetError(f"not migrated within {timeout:g} s", detail="\n".join(missing), hint="orch status")
        if state != told:
            say(f"waiting for {state}")
            told = state
        time.sleep(min(every, max(0.0, deadline - time.monotonic())))


def _look(run: Run) -> dict[str, Survey]:
    """Look with fresh engines: one remembers, for its own run, which databases there are."""
    from dataclasses import replace

    from orchestrator.engines import load_engine
    from orchestrator.execution.survey import survey

    engines = {name: load_engine(name, run.actor, run.run_id) for name in run.engines}
    try:
        return survey(replace(run, engines=engines), reads=True)
    finally:
        for engine in engines.values():
            engine.close()


def _parse(text: str) -> tuple[str, int | None]:
    from orchestrator.errors import UsageError

    name, at, version = text.rpartition("@")
    if not at:
        return text, None
    if not name or not version.isdecimal():
        raise UsageError(f"--for {text!r} is not NAME or NAME@VERSION", hint="orch wait --for order@3")
    return name, int(version)


def _missing(
    database: Database, migrations: Sequence[Migration], survey: Survey, version: int | None, over: bool
) -> str:
    """Return what is still to come, or nothing; what waiting cannot mend is raised."""
    from orchestrator.errors import ConflictError, UsageError
    from orchestrator.model import Direction
    from orchestrator.planning.history import reconcile
    from orchestrator.planning.plan import UNDERWAY
    from orchestrator.planning.problems import Kind
    from orchestrator.planning.squash import holds, replaced_by, stands_for

    if survey.failure is not None:
        return _trouble(database.id, survey.failure, over)
    known = version is None or any(m.version == version or holds(m.replaces, version) for m in migrations)
    if not survey.history.exists and known and (migrations or dialect(database.engine).creates):
        return "does not exist yet"
    state = reconcile(migrations, survey.history, out_of_order=database.settings.out_of_order)
    believed = not any(problem.kind in (Kind.ELSEWHERE, Kind.SEVERAL_ROWS) for problem in state.problems)
    replaced = {migration.version: migration.replaces for migration in migrations if migration.replaces}
    if version is not None and stands_for(replaced, version, state.applied) and believed:
        return ""
    if not known:
        raise UsageError(f"{database.id} has no migration {version}", hint="its files are what is waited for")
    # A run at work looks like one that stopped half way: those may still come to an end.
    for problem in state.blocked(Direction.UP):
        begun = problem.kind is Kind.MISSING and state.partial is not None and problem.version == state.partial.version
        if problem.kind not in UNDERWAY and not begun:
            raise ConflictError(f"{database.id}: {problem.what}", hint=problem.hint_for(database.id))
    upto = version if version is None or version in state.pending else replaced_by(replaced, version) or version
    waited_for = [v for v in state.pending if upto is None or v <= upto]
    if not waited_for:
        return next((problem.what for problem in state.problems if problem.kind in UNDERWAY), "")
    done = f"at version {state.version}" if state.version is not None else "nothing applied yet"
    return f"{done}, {len(waited_for)} to come"


def _trouble(id: str, failure: Failure, over: bool) -> str:
    """Return why a database could not be read before the time was over; what only a person can mend is raised."""
    from orchestrator.errors import ExitCode, OrchError

    if over:
        return failure.what
    error = OrchError(f"{id}: {failure.what}", detail=failure.detail, hint=failure.hint)
    error.exit_code, error.kind = ExitCode(failure.exit_code), failure.kind
    raise error
