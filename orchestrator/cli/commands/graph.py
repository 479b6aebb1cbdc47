"""`orch graph`: show the dependency graph."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.model import Database


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
    format: Annotated[Format, typer.Option("--format", help="Format of the graph.")] = Format.text,
) -> int:
    """Show the dependency graph as text, Mermaid, DOT or JSON. Needs no server.

    Examples:
        orch graph
        orch graph --format mermaid
        orch graph --format dot | dot -Tsvg
    """
    from orchestrator.cli.console import out, out_json
    from orchestrator.operations.assembly import assemble
    from orchestrator.planning.graph import waves
    from orchestrator.views import graph_text

    assembly = assemble(file, None, only, exclude, no_deps=no_deps)
    chosen = {database.id for database in assembly.databases}
    dependencies = {d.id: tuple(need for need in d.depends_on if need in chosen) for d in assembly.databases}
    external = {
        d.id: {"external": [{"manifest": one.manifest, "database": one.database} for one in d.external]}
        for d in assembly.databases
        if d.external
    }
    own = waves(dependencies) if format in (Format.json, Format.text) else []
    if format is not Format.json:
        dependencies = _with_external(assembly.databases, dependencies)
    if format is Format.json:
        out_json(
            {
                "format": 1,
                "databases": [
                    {"id": id, "depends_on": list(needs), **external.get(id, {})} for id, needs in dependencies.items()
                ],
                "waves": own,
            }
        )
    elif format is Format.mermaid:
        out(graph_text.mermaid(dependencies))
    elif format is Format.dot:
        out(graph_text.dot(dependencies))
    else:
        out(graph_text.text(dependencies, own))
    return 0


def _with_external(
    databases: Sequence[Database], dependencies: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return the dependencies with those on databases of other manifests, which come first."""
    outside = {one.id: tuple(f"{e.database} ({e.manifest})" for e in one.external) for one in databases}
    first = {name: () for names in outside.values() for name in names}
    return {**first, **{id: (*outside[id], *needs) for id, needs in dependencies.items()}}
