"""`orch stats`: how large tables are, for `orch lint --stats`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import options


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="The databases: names, globs or label:NAME. Default: all.",
            autocompletion=options.complete_pattern,
        ),
    ] = None,
    file: options.File = None,
    env_file: options.EnvFile = None,
    out_file: Annotated[
        str | None, typer.Option("-o", "--out", metavar="FILE", help="Write to FILE instead of stdout.")
    ] = None,
    wait: options.Wait = 0.0,
    embedded: options.Embedded = False,
) -> int:
    """Print rows, bytes and writes a second of every table as JSON, for `orch lint --stats`. Changes nothing.

    Whoever may look at the servers runs it; who writes migrations needs the file alone. It holds names of tables and
    numbers, and no data.

    Examples:
        orch stats -o sizes.json
        orch stats orders -o sizes.json && orch lint orders --stats sizes.json
    """
    from pathlib import Path

    from orchestrator.cli.console import out_json, pasteable, say, say_failures
    from orchestrator.errors import UsageError, exit_code_of
    from orchestrator.operations.assembly import assemble
    from orchestrator.operations.stats import live_sizes, stats_document
    from orchestrator.views.document import json_text
    from orchestrator.views.plain import PlainView

    assembly = assemble(file, env_file, names, no_deps=bool(names))
    found, failed = live_sizes(assembly.run(PlainView(say), embedded=embedded, wait=wait))
    document = stats_document(found)
    if out_file is None:
        out_json(document)
    else:
        try:
            Path(out_file).write_text(json_text(document, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{out_file} cannot be written: {error.strerror}") from None
        say(pasteable(f"The sizes are in {out_file}."))
    say_failures(failed)
    return exit_code_of(failure.exit_code for _, failure in failed)
