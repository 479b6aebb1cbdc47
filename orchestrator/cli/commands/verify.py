"""`orch verify`: does every down file undo its up file?"""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.execution.scheduler import JOBS, JOBS_PER_SERVER


def command(
    names: options.Names = None,
    since: Annotated[
        int,
        typer.Option(
            "--since",
            min=0,
            metavar="VERSION",
            help="Verify migrations from this version on. Earlier ones are only applied.",
        ),
    ] = 0,
    file: options.File = None,
    env_file: options.EnvFile = None,
    jobs: options.Jobs = JOBS,
    jobs_per_server: options.JobsPerServer = JOBS_PER_SERVER,
    wait: options.Wait = 0.0,
    embedded: options.Embedded = False,
    output: options.OutputOption = options.Output.text,
    junit: options.JUnit = None,
) -> int:
    """Check that every down file undoes its up file, in a scratch database on the same server.

    Each migration is applied, rolled back and applied again, and the schemas are compared. The scratch database is
    dropped; the real one is never touched. Statements that reach beyond their database (CREATE ROLE, ALTER SYSTEM) are
    skipped.
    The manifest can accept findings in old migrations: `verify: {accept: [{version: 3}]}`.

    Examples:
        orch verify
        orch verify inventory
        orch verify --since 42
        orch verify --embedded --junit verify.xml
    """
    from orchestrator.cli.console import say, say_failures
    from orchestrator.cli.show import show
    from orchestrator.cli.stage import (
        Broadcast,
        ended,
        shown_to_people,
        stopped_by_signals,
        summary,
        when_machines_read,
        write_reports,
    )
    from orchestrator.operations.scope import Scope
    from orchestrator.operations.verify import prepare
    from orchestrator.views.verify import VerifyView

    broadcast, view = Broadcast(), VerifyView()
    when_machines_read(options.StreamOutput.text, broadcast, junit, file)
    broadcast.sinks.append(view)
    scope = Scope(file, env_file, names, embedded=embedded, jobs=jobs, jobs_per_server=jobs_per_server, wait=wait)
    verifier = prepare(scope, broadcast, since)
    with stopped_by_signals(verifier.stop):  # also while the end is told: it must be whole
        with shown_to_people(broadcast):
            finished = verifier.verify()
        written = write_reports(None)
        show("verify", output, view)
        say_failures(view.failures)
        say(summary(finished, finished.succeeded))
    return ended(finished.exit_code, written)
