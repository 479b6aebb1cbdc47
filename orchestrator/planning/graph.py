"""The dependency graph. Only this module uses networkx, and imports it only when needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx as nx

Dependencies = Mapping[str, Sequence[str]]
"""Database id → ids that it depends on, in the order of the manifest."""


def _graph(dependencies: Dependencies) -> nx.DiGraph[str]:
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(dependencies)
    graph.add_edges_from((need, id) for id, needs in dependencies.items() for need in needs if need in dependencies)
    return graph


def cycle(dependencies: Dependencies) -> list[str] | None:
    """Return a cycle as a path whose first and last are the same, or None."""
    import networkx as nx

    graph = _graph(dependencies)
    if nx.is_directed_acyclic_graph(graph):
        return None
    # Within a strongly connected part a cycle is found at once; in the whole of a long chain it takes quadratic time.
    parts = nx.strongly_connected_components(graph)
    tangled = next(part for part in parts if len(part) > 1 or graph.has_edge(*part, *part))
    edges = nx.find_cycle(_graph({id: needs for id, needs in dependencies.items() if id in tangled}))
    # Edges point from the need to the one that needs it; people read "a depends on b".
    path = [edge[0] for edge in edges]
    return [path[0], *reversed(path[1:]), path[0]]


def order(dependencies: Dependencies) -> list[str]:
    """Return every id after all that it depends on, otherwise as declared. The graph must have no cycle."""
    if _declared_in_order(dependencies):
        return list(dependencies)
    import networkx as nx

    position = {id: index for index, id in enumerate(dependencies)}
    return list(nx.lexicographical_topological_sort(_graph(dependencies), key=position.__getitem__))


def waves(dependencies: Dependencies) -> list[list[str]]:
    """Return the ids in generations: each needs only what stands in earlier ones."""
    import networkx as nx

    position = {id: index for index, id in enumerate(dependencies)}
    return [sorted(wave, key=position.__getitem__) for wave in nx.topological_generations(_graph(dependencies))]


def dependants(dependencies: Dependencies, id: str) -> set[str]:
    """Return all that depends on this database, directly or not."""
    import networkx as nx

    return set(nx.descendants(_graph(dependencies), id))


def among(dependencies: Dependencies, chosen: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the dependencies of the chosen ids on one another, also those that go through ids that are not chosen."""
    wanted = dict.fromkeys(chosen)
    found: dict[str, tuple[str, ...]] = {}
    for id in wanted:
        needs: dict[str, None] = {}
        queue, seen = list(dependencies[id]), set[str]()
        while queue:
            need = queue.pop(0)
            if need in wanted:
                needs[need] = None
            elif need not in seen:
                seen.add(need)
                queue += dependencies[need]
        found[id] = tuple(needs)
    return found


def _declared_in_order(dependencies: Dependencies) -> bool:
    """Whether the manifest's own order serves: then the 140 ms that loading networkx takes are saved."""
    seen: set[str] = set()
    for id, needs in dependencies.items():
        if any(need in dependencies and need not in seen for need in needs):
            return False
        seen.add(id)
    return True
