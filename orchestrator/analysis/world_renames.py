"""Give what exists another name: what refers to it refers to the new name."""

from __future__ import annotations

from orchestrator.analysis.facts import Column, Fact
from orchestrator.analysis.view_text import bare_name
from orchestrator.analysis.world import Table, World
from orchestrator.records import replace


def move_table(world: World, fact: Fact, table: Table) -> None:
    """RENAME TO and SET SCHEMA."""
    old = table.name
    if fact.what == "rename table":
        new = _same_schema(old, fact.name)
    else:
        new = last_part(old) if fact.name == "public" else f"{fact.name}.{last_part(old)}"
    world.tables.pop(old, None)
    world.tables[new], table.name = table, new
    indexes = world.indexes_on(old)
    for other in world.referring(old):
        for key, (one, made) in other.constraints.items():
            if one.references == old:
                other.constraints[key] = (replace(one, references=new), made)
        world.add_reference(other.name, new)
    for key_, _ in table.constraints.values():
        if key_.references:
            world.add_reference(new, key_.references)
    if old in world.views:
        world.views[new] = world.views.pop(old)
    for view in world.views.values():
        view.rename_table(bare_name(old), bare_name(new))
    for column in table.columns:
        if (old, column) in world.new_columns:
            world.new_columns[new, column] = world.new_columns.pop((old, column))
    for name, index in indexes.items():
        index.table = new
        world.add_index(name, index)


def rename_column(world: World, fact: Fact, table: Table, column: Column) -> None:
    """Indexes, constraints and views go on to use the column."""
    old, new = fact.name, fact.text
    table.columns.pop(old)
    table.columns[new] = replace(column, name=new)
    if (table.name, old) in world.new_columns:
        world.new_columns[table.name, new] = world.new_columns.pop((table.name, old))
    for key, (one, made) in table.constraints.items():
        named = tuple(new if name == old else name for name in one.columns)
        mentions = one.mentions | {new} if old in one.mentions else one.mentions
        not_null_of = frozenset(new if name == old else name for name in one.not_null_of)
        table.constraints[key] = (replace(one, columns=named, mentions=mentions, not_null_of=not_null_of), made)
    for other in world.referring(table.name):
        for key, (one, made) in other.constraints.items():
            if one.references == table.name and old in one.referred:
                referred = tuple(new if name == old else name for name in one.referred)
                other.constraints[key] = (replace(one, referred=referred), made)
    for index in world.indexes_of(table.name, old).values():
        index.columns = tuple(new if name == old else name for name in index.columns)
        index.mentions = index.mentions | {new} if old in index.mentions else index.mentions
    for view in world.views.values():
        view.rename_column(bare_name(table.name), old, new)


def rename_other(world: World, fact: Fact) -> None:
    """ALTER INDEX, DOMAIN, TYPE, FUNCTION … RENAME TO."""
    for new in fact.others:
        if fact.text == "index" and fact.name in world.indexes:
            world.add_index(new, world.indexes.pop(fact.name))
        elif fact.text == "domain" and fact.name in world.domains:
            world.domains[new] = world.domains.pop(fact.name)
        elif fact.text == "type":
            _rename_type(world, fact.name, new)
        elif fact.text == "function" and fact.name in world.functions:
            world.functions[new] = world.functions.pop(fact.name)


def _rename_type(world: World, old: str, new: str) -> None:
    """The columns that have a type have it under its new name."""
    if old in world.types:
        world.types[new] = world.types.pop(old)
    for table in world.tables.values():
        for name, column in table.columns.items():
            if column.type.name == old:
                table.columns[name] = replace(column, type=replace(column.type, name=new))


def last_part(name: str) -> str:
    """Return a name without its schema."""
    return name.rpartition(".")[2] if not name.endswith('"') else name


def _same_schema(old: str, new: str) -> str:
    schema = old.rpartition(".")[0] if not old.endswith('"') else ""
    return f"{schema}.{new}" if schema else new
