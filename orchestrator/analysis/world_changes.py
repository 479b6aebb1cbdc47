"""Change what exists as statements do, file after file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from orchestrator.analysis.facts import Column, Constraint, Fact
from orchestrator.analysis.judge_views import words_of_view
from orchestrator.analysis.world import Domain, Index, Table, World

_ENDS = {"check": "check", "foreign key": "fkey", "unique": "key", "primary key": "pkey", "exclude": "excl"}


def apply(world: World, fact: Fact) -> None:
    """Change what exists as the statement of this fact does."""
    if change := _CHANGES.get(fact.what):
        change(world, fact)
    elif fact.what.startswith("drop ") and fact.others:
        _drop(world, fact)
    elif (table := world.tables.get(fact.table)) is not None:
        _alter(world, fact, table)


def _create_view(world: World, fact: Fact) -> None:
    known = world.tables.get(fact.table)
    if known is None or known.kind == "view":
        sure, kind = "if not exists" not in fact.flags, fact.what.removeprefix("create ")
        made = known.made if known else world.number
        world.tables[fact.table] = Table(fact.table, made, kind, sure, "temp" in fact.flags, whole=False)
        world.views[fact.table] = words_of_view(fact.body)


def _create_index(world: World, fact: Fact) -> None:
    name = fact.name or f"{fact.table}_{'_'.join(fact.others)}_idx"
    world.indexes.setdefault(name, Index(fact.table, fact.others, world.number, "unique" in fact.flags))


def _create_function(world: World, fact: Fact) -> None:
    world.functions[fact.name] = (_is_volatile(fact, world), world.number)
    world.bodies[_bare(fact.name)] = fact.body


def _create_domain(world: World, fact: Fact) -> None:
    if fact.type is not None:
        world.domains[fact.name] = Domain(fact.type, "constrained" in fact.flags, world.number)


def _constrain_domain(world: World, fact: Fact) -> None:
    if fact.name in world.domains:
        world.domains[fact.name].constrained = True


def _create_type(world: World, fact: Fact) -> None:
    world.types[fact.name] = world.number


def _create_other(world: World, fact: Fact) -> None:
    made = -1 if "if not exists" in fact.flags else world.number  # it may be an old one
    world.others.setdefault((fact.what.removeprefix("create "), fact.name), made)


def _create_trigger(world: World, fact: Fact) -> None:
    world.triggers[fact.table, fact.name] = fact.text


def _drop_trigger(world: World, fact: Fact) -> None:
    world.triggers.pop((fact.table, fact.name), None)


def _set_search_path(world: World, fact: Fact) -> None:
    world.path = fact.others


def _set_time_zone(world: World, fact: Fact) -> None:
    world.utc = fact.text in ("UTC", "ETC/UTC", "GMT", "Z", "ZULU")


def _detach(world: World, fact: Fact) -> None:
    if fact.name in world.tables:
        world.tables[fact.name].parent = ""


def _create_table(world: World, fact: Fact) -> None:
    if fact.table in world.tables and "if not exists" in fact.flags:
        return
    sure = "if not exists" not in fact.flags
    made = Table(fact.table, world.number, sure=sure, temp="temp" in fact.flags)
    made.partitioned = "partitioned" in fact.flags
    for like in (*fact.others, *((fact.name,) if fact.name else ())):
        source = world.tables.get(like)
        made.columns |= source.columns if source else {}
        made.whole = made.whole and source is not None and source.whole
    if "partition" in fact.flags:
        made.parent = fact.name
        parent = world.tables.get(fact.name)
        if parent is not None and "default" in fact.flags:
            parent.default_partition = fact.table
    if not fact.columns and not fact.others and not fact.name:
        made.whole = False  # CREATE TABLE … AS
    world.tables[fact.table] = made
    for column in fact.columns:
        _add_column(world, made, column)
    for constraint in fact.constraints:
        _add_constraint(world, made, constraint)


def _add_column(world: World, table: Table, column: Column) -> None:
    table.columns[column.name] = column
    for constraint in column.constraints:
        _add_constraint(world, table, constraint, column.name)


def _add_constraint(world: World, table: Table, constraint: Constraint, column: str = "") -> None:
    columns = "" if constraint.kind == "primary key" else "_".join(constraint.columns) or column
    name = constraint.name or "_".join(
        filter(None, [_bare(table.name), columns, _ENDS.get(constraint.kind, "not_null")])
    )
    table.constraints[name] = (constraint, world.number)
    if constraint.kind in ("unique", "primary key") and constraint.columns:
        world.indexes[name] = Index(table.name, constraint.columns, world.number, unique=True)
    if constraint.kind == "primary key" or (constraint.kind == "not null" and constraint.valid):
        for name in constraint.columns:
            if name in table.columns:
                table.columns[name] = replace(table.columns[name], not_null=True)


def _attach(world: World, fact: Fact) -> None:
    unknown = Table(fact.name, -1, whole=False)  # made elsewhere
    child, parent = world.tables.setdefault(fact.name, unknown), world.tables.get(fact.table)
    child.parent = fact.table
    if parent is not None:
        parent.partitioned = True
        if "default" in fact.flags:
            parent.default_partition = fact.name


def _alter(world: World, fact: Fact, table: Table) -> None:
    what, column = fact.what, table.columns.get(fact.name)
    if what == "add column" and fact.column is not None:
        if column is None:
            _add_column(world, table, fact.column)
            world.new_columns[table.name, fact.name] = world.number
    elif what == "add constraint" and fact.constraint is not None:
        _add_constraint(world, table, fact.constraint)
    elif what == "drop column":
        table.columns.pop(fact.name, None)
    elif what == "drop constraint":
        table.constraints.pop(fact.name, None)
        world.indexes.pop(fact.name, None)
    elif what == "validate" and fact.name in table.constraints:
        constraint, _ = table.constraints[fact.name]
        table.constraints[fact.name] = (replace(constraint, valid=True), world.number)
    elif what == "rename constraint" and fact.name in table.constraints:
        table.constraints[fact.text] = table.constraints.pop(fact.name)
    elif what in ("rename table", "set schema"):
        _move(world, fact, table)
    elif column is not None:
        _alter_column(fact, table, column)


def _move(world: World, fact: Fact, table: Table) -> None:
    old = table.name
    if fact.what == "rename table":
        new = _same_schema(old, fact.name)
    else:
        new = _bare(old) if fact.name == "public" else f"{fact.name}.{_bare(old)}"
    world.tables.pop(old, None)
    world.tables[new], table.name = table, new
    for index in world.indexes.values() if fact.what == "rename table" else ():
        index.table = new if index.table == old else index.table


def _drop(world: World, fact: Fact) -> None:
    kind = fact.what.removeprefix("drop ")
    for name in fact.others:
        if kind in ("table", "view", "materialized view"):
            world.tables.pop(name, None)
            for index in [index for index, one in world.indexes.items() if one.table == name]:
                del world.indexes[index]
        elif kind == "index":
            world.indexes.pop(name, None)
        elif kind == "domain":
            world.domains.pop(name, None)
        elif kind == "type":
            world.types.pop(name, None)
        elif kind in ("function", "procedure", "routine"):
            world.functions.pop(name, None)
        elif kind == "schema":
            for table in [table for table in world.tables if table.startswith(f"{name}.")]:
                del world.tables[table]
            world.others.pop((kind, name), None)
        else:
            world.others.pop((kind, name), None)


def _rename_other(world: World, fact: Fact) -> None:
    for new in fact.others:
        if fact.text == "index" and fact.name in world.indexes:
            world.indexes[new] = world.indexes.pop(fact.name)
        elif fact.text == "domain" and fact.name in world.domains:
            world.domains[new] = world.domains.pop(fact.name)
        elif fact.text == "function" and fact.name in world.functions:
            world.functions[new] = world.functions.pop(fact.name)


def _is_volatile(fact: Fact, world: World) -> bool:
    """Whether a function gives another value for every row. One of SQL is inlined, so what it calls decides."""
    if fact.flags & {"immutable", "stable"}:
        return False
    if fact.text == "sql":
        return world.volatile(fact.words) is not False or "FROM" in fact.words
    return True


def _bare(name: str) -> str:
    return name.rpartition(".")[2] if not name.endswith('"') else name


def _same_schema(old: str, new: str) -> str:
    schema = old.rpartition(".")[0] if not old.endswith('"') else ""
    return f"{schema}.{new}" if schema else new


def _alter_column(fact: Fact, table: Table, column: Column) -> None:
    what = fact.what
    if what == "rename column":
        table.columns.pop(fact.name)
        table.columns[fact.text] = replace(column, name=fact.text)
    elif what == "type" and fact.type is not None:
        table.columns[fact.name] = replace(column, type=fact.type)
    elif what in ("set not null", "drop not null"):
        table.columns[fact.name] = replace(column, not_null=what == "set not null")
    elif what in ("set default", "drop default"):
        table.columns[fact.name] = replace(column, default=fact.words)


_CHANGES: dict[str, Callable[[World, Fact], None]] = {
    "create table": _create_table,
    "create materialized view": _create_view,
    "create view": _create_view,
    "create index": _create_index,
    "create function": _create_function,
    "create domain": _create_domain,
    "create type": _create_type,
    "create sequence": _create_other,
    "create schema": _create_other,
    "create trigger": _create_trigger,
    "domain add": _constrain_domain,
    "domain not null": _constrain_domain,
    "drop trigger": _drop_trigger,
    "rename other": _rename_other,
    "time zone": _set_time_zone,
    "search path": _set_search_path,
    "detach": _detach,
    "attach": _attach,
}
