"""`orch verify`: does every down file undo its up file?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.scoped import JOBS_AND_WAIT, scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped(*JOBS_AND_WAIT, "embedded")
def command(
    *,
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
    scope: Scope,
    output: options.OutputOption = options.Output.text,
    junit: options.JUnit = None,
) -> int:
    """Check that every down file undoes its up file, in a scratch database on the same server.

    Each migration is applied, rolled back and applied again, and the schemas are compared. The scratch database is
    dropped; the real one is never touched. Statements that reach beyond their database (CREATE ROLE, ALTER SYSTEM) are
    skipped. Of the members of a fleet, one is verified.
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
        planning,
        shown_to_people,
        stopped_by_signals,
        summary,
        when_machines_read,
        write_reports,
    )
    from orchestrator.operations.verify import prepare
    from orchestrator.views.verify import VerifyView

    broadcast, view = Broadcast(), VerifyView()
    when_machines_read(options.StreamOutput.text, broadcast, junit, scope.file)
    broadcast.sinks.append(view)
    with planning(broadcast, options.StreamOutput.text):
        verifier = prepare(replace(scope, only=names), broadcast, since)
    with stopped_by_signals(verifier.stop):  # also while the end is told: it must be whole
        with shown_to_people(broadcast):
            finished = verifier.verify()
        written = write_reports(None)
        show("verify", output, view)
        say_failures(view.failures)
        say(summary(finished, finished.succeeded))
        if since and not verifier.asked:
            say(f"warning: nothing was verified: no chosen database has version {since} or a later one")
    return ended(finished.exit_code, written)
