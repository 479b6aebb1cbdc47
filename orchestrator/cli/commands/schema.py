"""`orch schema`: print the JSON Schema of the manifest or of an output."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Document(StrEnum):
    """What has a schema."""

    manifest = "manifest"
    plan = "plan"
    events = "events"
    status = "status"
    apply = "apply"
    verify = "verify"
    drift = "drift"
    report = "report"


def command(
    document: Annotated[
        Document,
        typer.Argument(
            metavar="[DOCUMENT]", help=f"One of {', '.join(Document)}. 'events' describes one line of --output jsonl."
        ),
    ] = Document.manifest,
) -> int:
    """Print the JSON Schema of databases.yaml or of an output format.

    Examples:
        orch schema > databases.schema.json
        orch schema events
    """
    from importlib.resources import files

    from orchestrator.cli.console import out

    package, name = "orchestrator.schemas", f"{document}.schema.json"
    if document is Document.manifest:
        package, name = "orchestrator.manifest", "databases.schema.json"
    out(files(package).joinpath(name).read_text(encoding="utf-8"))
    return 0
