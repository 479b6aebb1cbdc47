"""Load the manifest and choose databases: members of fleets that only a query can tell are asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.operations.assembly import Assembly
from orchestrator.records import replace

if TYPE_CHECKING:
    from orchestrator.engines.base import Engine
    from orchestrator.manifest.for_each import Answer


def assemble(
    file: str | None,
    env_file: str | None = None,
    only: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    *,
    no_deps: bool = False,
    offline: bool = False,
    embedded: bool = False,
    wait: float = 0.0,
    saved: bool = False,
    answers: Mapping[int, Answer | None] | None = None,
) -> Assembly:
    """Load the manifest and select databases. Raise InvalidError or UsageError.

    `saved`: `only` has the ids of a saved plan; one that a manifest with fleets has no more is left out.

    The members of a fleet that a query tells are asked for, unless `offline`: then one database stands for all of them.
    `answers`: what `handed_over` made of them for another process. Only a query whose answer there is None is asked again.
    """
    from orchestrator.manifest.dsn import check_overrides
    from orchestrator.manifest.load import find_manifest, load
    from orchestrator.manifest.names import select
    from orchestrator.manifest.variables import environment
    from orchestrator.planning.graph import among, order

    path = find_manifest(file, os.environ, Path.cwd())
    env = environment(env_file, os.environ, path.parent)
    given = {entry: found for entry, found in (answers or {}).items() if found is not None}
    manifest = load(path, answers=given)
    patterns, left_out = list(only or ()), list(exclude or ())
    engines: dict[str, Engine] = {}
    later: Mapping[int, str] = {}
    if manifest.fleets and not offline:
        from orchestrator.operations import fleets

        wanted = (
            fleets.are_needed(manifest, patterns, left_out, no_deps) if answers is None else None in answers.values()
        )
        if wanted:
            first = Assembly(manifest, (), env, engines=engines)
            asked = fleets.ask_members(first, embedded=embedded, wait=wait, known=answers)
            given |= asked.answers
            manifest, later = load(path, answers=given), asked.later
    check_overrides(manifest.databases, env)
    saved = saved and bool(manifest.fleets)  # a tenant may leave at any time
    if saved:
        declared = {database.id for database in manifest.databases}
        patterns = [id for id in patterns if id in declared]
    chosen = () if saved and only and not patterns else select(manifest.databases, patterns, left_out, no_deps)
    notes: list[str] = []
    told: list[str] = []
    if manifest.fleets and not offline:
        waiting, told = fleets.not_yet(manifest, chosen, later)
        chosen = tuple(one for one in chosen if one.id not in waiting)
        notes = [*told, *(() if only else fleets.without_members(manifest, later))]
    needs = among({d.id: d.depends_on for d in manifest.databases}, [d.id for d in chosen])
    by_id = {database.id: replace(database, depends_on=needs[database.id]) for database in chosen}
    ordered = tuple(by_id[id] for id in order(needs))
    return Assembly(manifest, ordered, env, engines=engines, notes=tuple(notes), later=tuple(told), answers=given)
