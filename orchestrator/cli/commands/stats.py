"""`orch stats`: how large tables are, for `orch lint --stats`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.scoped import scoped

if TYPE_CHECKING:
    from orchestrator.operations.scope import Scope


@scoped("wait", "embedded")
def command(
    *,
    names: options.Names = None,
    out_file: Annotated[
        str | None, typer.Option("-o", "--out", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
    scope: Scope,
) -> int:
    """Print rows, bytes and writes a second of every table as JSON, for `orch lint --stats`. Changes nothing.

    Run it where the servers can be reached; lint then needs only the file. It contains names of tables and numbers, but
    no data.

    Examples:
        orch stats -o sizes.json
        orch stats orders -o sizes.json && orch lint orders --stats sizes.json
    """
    from orchestrator.cli.console import out_json, pasteable, say, say_failures
    from orchestrator.cli.show import write
    from orchestrator.errors import exit_code_of
    from orchestrator.operations.stats import measure
    from orchestrator.views.document import json_text
    from orchestrator.views.formats import view
    from orchestrator.views.plain import PlainView

    measured = measure(scope.just(names), PlainView(say))
    document = view("stats", "json")(measured)
    if out_file is None:
        out_json(document)
    else:
        write(out_file, json_text(document, indent=2) + "\n")
        say(pasteable(f"The sizes are in {out_file}."))
    say_failures(measured.failed)
    return exit_code_of(failure.exit_code for _, failure in measured.failed)
