"""Find out what depends on what. No server is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.model import External
from orchestrator.operations.scope import Scope
from orchestrator.planning.graph import waves


@dataclass(frozen=True, slots=True)
class Graph:
    """The chosen databases, each with those of them that it depends on, and with databases of other manifests."""

    dependencies: Mapping[str, tuple[str, ...]]
    external: Mapping[str, tuple[External, ...]]

    @property
    def waves(self) -> Sequence[Sequence[str]]:
        """The databases in groups: those of a group depend only on earlier groups. Loads networkx."""
        return waves(self.dependencies)

    @property
    def whole(self) -> Mapping[str, tuple[str, ...]]:
        """The dependencies with those on databases of other manifests, which come first."""
        outside = {id: tuple(f"{e.database} ({e.manifest})" for e in ones) for id, ones in self.external.items()}
        first: dict[str, tuple[str, ...]] = {name: () for names in outside.values() for name in names}
        return {**first, **{id: (*outside[id], *needs) for id, needs in self.dependencies.items()}}


def graph(scope: Scope) -> Graph:
    """Return the graph of the chosen databases. InvalidError for a manifest that is wrong, such as one with a cycle."""
    databases = scope.assemble(offline=True).databases
    chosen = {database.id for database in databases}
    return Graph(
        {one.id: tuple(need for need in one.depends_on if need in chosen) for one in databases},
        {one.id: one.external for one in databases},
    )
