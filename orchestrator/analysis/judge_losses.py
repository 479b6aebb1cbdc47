"""Judge what PostgreSQL statements lose: what they drop, empty and delete that the plan has not made itself."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.analysis.facts import Fact
from orchestrator.analysis.hits import AE, Hit, Rule, Unit
from orchestrator.analysis.world import World


def _drop_table(world: World, fact: Fact, unit: Unit) -> Iterator[Hit]:
    for name in fact.others:
        found = world.table(name)
        if world.is_new(name):
            yield from _old_within(fact, world.old_within(name) - set(fact.others), name)
            continue
        if fact.what == "drop materialized view" and name in unit.made_later:
            continue  # it is filled again before the transaction commits
        absent = found is None and world.complete and "if exists" in fact.flags  # as far as the files tell
        absent = absent or world.is_quiet(name)  # made by IF NOT EXISTS, which may have found an old one
        yield Hit(
            "PG101", fact.at, f"{fact.what.replace('drop', 'drops', 1)} {name} and what is in it", name, AE, absent
        )
        if "cascade" in fact.flags:
            yield Hit("PG103", fact.at, f"drops what depends on {name}", name, AE, absent)
        if found is not None:
            parents = {key.references for key in found.foreign_keys()} - set(fact.others) - unit.dropped
            if found.parent:
                yield Hit("PG302", fact.at, "locks the partitioned table and all its readers out", found.parent, AE)
            for parent in sorted(parents):
                if not world.is_quiet(parent):
                    yield Hit("PG301", fact.at, "drops a foreign key and locks the referenced table too", parent, AE)


def _drop_container(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    """DROP SCHEMA, DATABASE."""
    kind = fact.what.removeprefix("drop ")
    for name in fact.others:
        if world.made_now(world.others.get((kind, name), -1)):
            moved = {one.name for one in world.tables.values() if one.name.startswith(f"{name}.")}
            yield from _old_within(fact, {one for one in moved if not world.is_new(one)}, name)
        else:
            code = "PG107" if kind == "database" else "PG101"
            known = (kind, name) in world.others or any(one.startswith(f"{name}.") for one in world.tables)
            absent = "if exists" in fact.flags and world.complete and not known and kind == "schema"
            yield Hit(code, fact.at, f"drops {kind} {name} and what is in it", name, AE, absent)
            if "cascade" in fact.flags:
                yield Hit("PG103", fact.at, f"drops what depends on {kind} {name}", name, AE, absent)


def _old_within(fact: Fact, old: set[str], name: str) -> Iterator[Hit]:
    """What is new goes without a word, but not with an old table that was put into it."""
    for table in sorted(old):
        yield Hit("PG101", fact.at, f"drops table {table} and what is in it, with {name}", table, AE)


def _is_used(world: World, type: str) -> bool:
    """Whether an old column has a type: it was changed to it by the plan, which made the type."""
    return any(
        column.type.name == type and not world.made_now(world.new_columns.get((table.name, column.name), -1))
        for table in world.tables.values()
        if not world.is_new(table.name)
        for column in table.columns.values()
    )


def _drop_attribute(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if not world.made_now(world.types.get(fact.name, -1)):
        what = f"drops attribute {fact.text} of type {fact.name}, and what is in it in every table"
        yield Hit("PG104", fact.at, what, fact.name, AE)


def _drop_owned(_: World, fact: Fact, __: Unit) -> Iterator[Hit]:
    for name in fact.others:
        yield Hit("PG101", fact.at, f"drops everything in this database that {name} owns", "", AE)
        if "cascade" in fact.flags:
            yield Hit("PG103", fact.at, f"drops what depends on what {name} owns", "", AE)


def _drop_type(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    kind = fact.what.removeprefix("drop ")
    for name in fact.others:
        made = world.domains[name].made if name in world.domains else world.types.get(name, -1)
        if "cascade" in fact.flags and (not world.made_now(made) or _is_used(world, name)):
            maybe = world.complete and name in world.types and not world.uses_type(name)
            yield Hit("PG104", fact.at, f"drops {kind} {name} and the columns that have it", name, AE, maybe)


def _drop_other(world: World, fact: Fact, unit: Unit) -> Iterator[Hit]:
    """DROP … CASCADE of a view, a sequence, a function, an extension and so on."""
    if "cascade" not in fact.flags:
        return
    kind = fact.what.removeprefix("drop ")
    for name in fact.others or (fact.name,):
        if kind == "view" and world.is_new(name):
            continue
        if kind in ("function", "procedure", "routine"):
            made = world.functions.get(name, (False, -1))[1]
            used = name in world.triggers.values()
            if world.made_now(made) or (made >= 0 and not used and name in unit.created_later):
                continue
        elif world.made_now(world.others.get((kind, name), -1)):
            continue
        yield Hit("PG103", fact.at, f"drops what depends on {kind} {name}", name, AE)
        break


def _delete(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if world.has_new_rows(fact.table):
        return
    if "all" in fact.flags:
        yield Hit("PG106", fact.at, f"deletes every row of {fact.table}", fact.table, "ROW EXCLUSIVE")
    elif "other rows" in fact.flags:
        what = f"deletes the rows of {fact.table} that are not in the source"
        yield Hit("PG106", fact.at, what, fact.table, "ROW EXCLUSIVE", maybe=True)


def _truncate(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    old = [name for name in fact.others if not world.has_new_rows(name)]
    if old:
        yield Hit("PG105", fact.at, f"empties {', '.join(old)}", old[0], AE)
        if "cascade" in fact.flags:
            others = [name for name in world.foreign_keys_to(old[0]) if name not in fact.others]
            yield Hit("PG103", fact.at, f"empties what refers to {old[0]} too", others[0] if others else old[0], AE)


LOSES: dict[str, Rule] = {
    "drop table": _drop_table,
    "drop materialized view": _drop_table,
    "drop schema": _drop_container,
    "drop database": _drop_container,
    "drop owned": _drop_owned,
    "drop type": _drop_type,
    "drop domain": _drop_type,
    "drop attribute": _drop_attribute,
    **{f"drop {kind}": _drop_other for kind in ("view", "sequence", "function", "procedure", "routine", "aggregate",
       "extension", "collation", "operator", "server", "language", "cast")},
    "delete": _delete,
    "truncate": _truncate,
}  # fmt: skip
"""Facts about what a statement loses, and how they are judged."""
