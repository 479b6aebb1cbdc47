"""Find changes of columns that PostgreSQL refuses because a view shows the column."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.analysis.facts import Fact
from orchestrator.analysis.hits import Hit
from orchestrator.analysis.view_text import bare_name
from orchestrator.analysis.world import World


def used_by_views(world: World, fact: Fact) -> Iterator[Hit]:
    """Yield what there is to say of another type of a column, or of its drop, if a view seems to use it."""
    if fact.what not in ("type", "drop column") or "cascade" in fact.flags or not world.views:
        return
    table, column = bare_name(fact.table), fact.name.strip('"')
    for name, view in world.views.items():
        if name in world.tables and name != fact.table and view.uses(table, column):
            does = "changes the type of" if fact.what == "type" else "drops"
            what = f"{does} {fact.table}.{fact.name}, which the view {name} seems to use: PostgreSQL refuses that"
            yield Hit("PG408", fact.at, what, fact.table, maybe=True)
            return
