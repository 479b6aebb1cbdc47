"""Find changes of columns that PostgreSQL refuses because a view shows the column."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.analysis.facts import Fact
from orchestrator.analysis.hits import Hit
from orchestrator.analysis.world import World

_WORD = re.compile(r'"(?:[^"]|"")*"|[\w$]+|\*')
_ALIAS = re.compile(r'\bAS\s+(?:"(?:[^"]|"")*"|\w+)', re.IGNORECASE)  # the name of what is selected is no column
_TEXTS = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)


def used_by_views(world: World, fact: Fact) -> Iterator[Hit]:
    """Yield what there is to say of another type of a column, or of its drop, if a view seems to use it."""
    if fact.what not in ("type", "drop column") or "cascade" in fact.flags or not world.views:
        return
    table, column = fact.table.rpartition(".")[2].strip('"'), fact.name.strip('"')
    for name, words in world.views.items():
        if name in world.tables and name != fact.table and table in words and (column in words or "*" in words):
            does = "changes the type of" if fact.what == "type" else "drops"
            what = f"{does} {fact.table}.{fact.name}, which the view {name} seems to use: PostgreSQL refuses that"
            yield Hit("PG408", fact.at, what, fact.table, maybe=True)
            return


def words_of_view(source: str) -> frozenset[str]:
    """Return the names in the text of a view, and `*` if it has one; `count(*)` selects no columns."""
    text = re.sub(r"\(\s*\*\s*\)", "()", _ALIAS.sub(" ", _TEXTS.sub(" ", source)))
    return frozenset(one[1:-1] if one.startswith('"') else one.lower() for one in _WORD.findall(text))
