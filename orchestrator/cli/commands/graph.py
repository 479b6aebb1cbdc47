"""`orch graph`: show the dependency graph."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli import options


class Format(StrEnum):
    """How the graph is written."""

    text = "text"
    mermaid = "mermaid"
    dot = "dot"
    json = "json"


def command(
    file: options.File = None,
    only: options.Only = None,
    exclude: options.Exclude = None,
    no_deps: options.NoDeps = False,
    format: Annotated[Format, typer.Option("--output", "--format", help="Format of stdout.")] = Format.text,
) -> int:
    """Show the dependency graph as text, Mermaid, DOT or JSON. Needs no server.

    Examples:
        orch graph
        orch graph --output mermaid
        orch graph --output dot | dot -Tsvg
    """
    from orchestrator.cli.show import show
    from orchestrator.operations.graph import graph
    from orchestrator.operations.scope import Scope

    show("graph", format, graph(Scope(file, None, only, exclude, no_deps=no_deps)))
    return 0
