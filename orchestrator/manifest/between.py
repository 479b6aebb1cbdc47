"""Check databases against each other: dependencies in a cycle, and two entries for one database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from orchestrator.manifest.entry import Entry, Tell
from orchestrator.manifest.fleet import filled_for_comparison
from orchestrator.manifest.names import NameIndex
from orchestrator.manifest.source import Steps
from orchestrator.manifest.template import columns_in
from orchestrator.model import Database


def internal(entry: Entry) -> Iterator[tuple[int, str]]:
    """Yield the dependencies within the manifest, each with its place in the list."""
    given = entry.values.get("depends_on")
    for place, name in enumerate(given if isinstance(given, list) else ()):
        if isinstance(name, str):
            yield place, name


class Unknown:
    """The members of fleets that only a query can tell. Of each fleet, one entry stands for all of them."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._names = [
            (re.compile(f"(?:{re.escape(one.engine)}-)?{_any_member(one.name)}", re.DOTALL), one.id)
            for one in entries
            if one.member and not one.member.columns
        ]

    def may_have(self, name: str) -> bool:
        """Return whether a member may have this name."""
        return any(pattern.fullmatch(name) for pattern, _ in self._names)

    def needed(self, name: str, seen: set[str]) -> Iterator[str]:
        """Yield the id that stands for a database with this name, if it is clear which, and add it to those `seen`."""
        found = [id for pattern, id in self._names if pattern.fullmatch(name)]
        if len(found) == 1 and found[0] not in seen:
            seen.add(found[0])
            yield found[0]


def _any_member(template: str) -> str:
    return ".+".join(map(re.escape, re.split(r"\{\w+\}", template)))


def check_same_dsn(entries: Sequence[Entry], databases: Sequence[Database], error: Tell) -> None:
    """Tell of databases with the same DSN. `databases` are those of the entries, in the same order."""
    first: dict[str, Database] = {}
    for entry, database in zip(entries, databases, strict=True):
        real = database.database or database.name
        if database.columns:
            real = filled_for_comparison(real, database.columns)
        dsn = database.dsn.replace("{database}", real)
        if database.columns and "{" in database.dsn:
            dsn = filled_for_comparison(dsn, database.columns)
        elif columns_in(database.dsn):
            continue  # of a word in {} that is not understood, another message tells
        other = first.setdefault(dsn, database)
        if dsn and other is not database:
            steps = entry.steps
            error(
                [*steps, "dsn"] if "dsn" in entry.values else steps,
                f"{database.id} and {other.id} have the same DSN",
                hint="end the DSN with /{database}",
                detail=f"{other.id} is at {other.mark}",
            )


def check_cycles(entries: Sequence[Entry], databases: Sequence[Database], index: NameIndex, error: Tell) -> None:
    """Tell of dependencies that form a cycle. `databases` are those of the entries, in the same order."""
    order = {database.id: position for position, database in enumerate(databases)}
    needs = {database.id: tuple(id for id in database.depends_on if id in order) for database in databases}
    if all(order[need] < order[id] for id, ids in needs.items() for need in ids):
        return  # everything comes after what it needs: there can be no cycle
    from orchestrator.planning.graph import cycle

    while found := cycle(needs):
        ring = found[:-1] if found[0] == found[-1] else found
        start = min(range(len(ring)), key=lambda place: order[ring[place]])
        ring = ring[start:] + ring[:start]
        here, there = (ring[0], ring[1]) if ring[1] in needs[ring[0]] else (ring[0], ring[-1])
        path = [*ring, here] if there == ring[1] else [here, *reversed(ring)]
        error(
            _dependency_steps(entries[order[here]], there, index),
            f"the dependencies form a cycle: {' → '.join(path)}",
            hint="each depends on the next; remove one of these dependencies",
        )
        needs[here] = tuple(id for id in needs[here] if id != there)


def _dependency_steps(entry: Entry, id: str, index: NameIndex) -> Steps:
    place = next((place for place, name in internal(entry) if index.find(name) == (id,)), None)
    return [*entry.steps, "depends_on"] if place is None else [*entry.steps, "depends_on", place]
