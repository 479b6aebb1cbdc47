"""`orch wait`: until other databases are migrated. It only reads, and needs no credentials but theirs."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.hints import Command, Hint


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
    from orchestrator.operations.waiting import look, missing_in
    from orchestrator.views.plain import PlainView

    versions = dict(map(_parse, wanted or ()))
    assembly = assemble(file, env_file, list(versions), None, no_deps=bool(versions))
    upto: dict[str, int | None] = dict.fromkeys(database.id for database in assembly.databases)
    upto |= {resolve_name(assembly.databases, name).id: version for name, version in versions.items()}
    run = assembly.run(PlainView(say), embedded=embedded, wait=timeout)
    deadline = time.monotonic() + timeout
    told = ""
    while True:
        surveys = look(run)
        over = time.monotonic() >= deadline
        missing = [
            f"{database.id}: {reason}"
            for database in assembly.databases
            if (
                reason := missing_in(database, run.catalogs[database.id], surveys[database.id], upto[database.id], over)
            )
        ]
        if not missing:
            if output is options.Output.json:
                out_json({"format": 1, "databases": [{"id": id, "result": "migrated"} for id in upto]})
            else:
                out("\n".join(f"{id} is migrated." for id in upto))
            return 0
        state = "; ".join(missing)
        if over:
            raise NotYetError(
                f"not migrated within {timeout:g} s", detail="\n".join(missing), hint=Hint(Command("status"))
            )
        if state != told:
            say(f"waiting for {state}")
            told = state
        time.sleep(min(every, max(0.0, deadline - time.monotonic())))


def _parse(text: str) -> tuple[str, int | None]:
    from orchestrator.errors import UsageError

    name, at, version = text.rpartition("@")
    if not at:
        return text, None
    if not name or not version.isdecimal():
        raise UsageError(f"--for {text!r} is not NAME or NAME@VERSION", hint=Hint(Command("wait", "--for", "order@3")))
    return name, int(version)
