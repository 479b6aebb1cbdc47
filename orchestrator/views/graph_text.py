"""The dependency graph as text: waves and tree, Mermaid, DOT."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.views.table import table

if TYPE_CHECKING:
    from orchestrator.operations.graph import Graph

_WIDTH = 64
"""Width of the column with the names of a wave."""
_NAMED = 500
"""So many names of a wave are shown, and so many databases in one place of the tree."""

Dependencies = Mapping[str, Sequence[str]]


def text(dependencies: Dependencies, waves: Sequence[Sequence[str]]) -> str:
    """Return a table of waves, then a tree. The children of a database are drawn once; later it is only named.

    Of very many names in one place, the first ones are shown and the others counted.
    """
    rows = []
    for number, wave in enumerate(waves, 1):
        first, *more = _wrapped([*wave[:_NAMED], *_more(wave)])
        rows += [(str(number), str(len(wave)), first), *(("", "", line) for line in more)]
    lines = [table(("WAVE", "SIZE", "DATABASES"), rows), ""]
    dependants: dict[str, list[str]] = {id: [] for id in dependencies}
    for id, needs in dependencies.items():
        for need in needs:
            dependants[need].append(id)
    lines += _tree([id for id, needs in dependencies.items() if not needs], dependants)
    return "\n".join(lines)


def _tree(roots: Sequence[str], dependants: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a tree. Each entry that waits is a database, what stands before it, and before its children."""
    shown: set[str] = set()
    waiting: list[tuple[str, str, str]] = []

    def wait_for(children: Sequence[str], prefix: str, *, branches: bool) -> None:
        leaves = [child for child in children if not dependants[child]]
        named = [child for child in children if dependants[child]] if len(leaves) > _NAMED else [*children]
        named += [*leaves[:_NAMED], *_more(leaves)] if len(leaves) > _NAMED else []
        for place, child in enumerate(reversed(named)):
            branch, below = ("└─ ", "   ") if not place else ("├─ ", "│  ")
            waiting.append((child, prefix + branch * branches, prefix + below * branches))

    wait_for(roots, "", branches=False)
    while waiting:
        id, before, below = waiting.pop()
        children = dependants.get(id, ())
        again = id in shown and bool(children)
        shown.add(id)
        yield f"{before}{id}{' (see above)' if again else ''}"
        if not again:
            wait_for(children, below, branches=True)


def _more(names: Sequence[str]) -> list[str]:
    return [f"and {len(names) - _NAMED:,} more"] if len(names) > _NAMED else []


def _wrapped(names: Sequence[str]) -> list[str]:
    """Return the names, with commas, on lines that fit a terminal beside the other columns."""
    lines = [""]
    for name in names:
        if lines[-1] and len(lines[-1]) + len(name) + 2 > _WIDTH:
            lines.append("")
        lines[-1] += f"{name}, "
    return [*(line.rstrip() for line in lines[:-1]), lines[-1].removesuffix(", ")]


def mermaid(dependencies: Dependencies) -> str:
    """Return a Mermaid flowchart, which GitHub draws."""
    number = {id: f"n{index}" for index, id in enumerate(dependencies)}
    lines = ["flowchart LR"]
    lines += [f'    {number[id]}["{_escaped(id)}"]' for id in dependencies]
    lines += [f"    {number[need]} --> {number[id]}" for id, needs in dependencies.items() for need in needs]
    return "\n".join(lines)


def dot(dependencies: Dependencies) -> str:
    """Return a graph for Graphviz."""
    lines = ["digraph databases {", "    rankdir=LR;", "    node [shape=box];"]
    lines += [f"    {json.dumps(id, ensure_ascii=False)};" for id in dependencies]
    lines += [
        f"    {json.dumps(need, ensure_ascii=False)} -> {json.dumps(id, ensure_ascii=False)};"
        for id, needs in dependencies.items()
        for need in needs
    ]
    return "\n".join([*lines, "}"])


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def graph_tree(graph: Graph) -> str:
    """Return the waves, and the tree of dependencies."""
    return text(graph.whole, graph.waves)


def graph_mermaid(graph: Graph) -> str:
    """Return a Mermaid flowchart."""
    return mermaid(graph.whole)


def graph_dot(graph: Graph) -> str:
    """Return a graph for Graphviz."""
    return dot(graph.whole)


def graph_document(graph: Graph) -> dict[str, Any]:
    """Return what `orch graph --output json` shows."""
    outside = {
        id: {"external": [{"manifest": one.manifest, "database": one.database} for one in ones]}
        for id, ones in graph.external.items()
        if ones
    }
    databases = [{"id": id, "depends_on": list(ns), **outside.get(id, {})} for id, ns in graph.dependencies.items()]
    return {"format": 1, "databases": databases, "waves": graph.waves}
