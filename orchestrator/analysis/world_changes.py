"""Change what exists as statements do, file after file."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.analysis.facts import Column, Constraint, Fact
from orchestrator.analysis.view_text import View, bare_name
from orchestrator.analysis.world import Domain, Index, Table, World
from orchestrator.analysis.world_renames import last_part, move_table, rename_column, rename_other
from orchestrator.records import replace

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
    sure, kind = "if not exists" not in fact.flags, fact.what.removeprefix("create ")
    if known is not None and not sure:
        return
    made = known.made if known is not None and "replace" in fact.flags else world.number  # else it would fail
    world.tables[fact.table] = Table(fact.table, made, kind, sure, "temp" in fact.flags, whole=False)
    world.views[fact.table] = View(fact.body)


def _create_index(world: World, fact: Fact) -> None:
    name = fact.name or f"{fact.table}_{'_'.join(fact.others)}_idx"
    index = Index(fact.table, fact.others, world.number, "unique" in fact.flags, frozenset(fact.words))
    if name not in world.indexes:
        world.add_index(name, index)


def _create_function(world: World, fact: Fact) -> None:
    world.functions[fact.name] = (_is_volatile(fact, world), world.number)
    world.bodies[last_part(fact.name)] = fact.body


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
        filter(None, [last_part(table.name), columns, _ENDS.get(constraint.kind, "not_null")])
    )
    table.constraints[name] = (constraint, world.number)
    if constraint.kind in ("unique", "primary key") and constraint.columns:
        world.add_index(name, Index(table.name, constraint.columns, world.number, unique=True))
    if constraint.references:
        world.add_reference(table.name, constraint.references)
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
        _drop_column(world, fact, table)
    elif what == "drop constraint":
        table.constraints.pop(fact.name, None)
        world.indexes.pop(fact.name, None)
    elif what == "validate" and fact.name in table.constraints:
        constraint, _ = table.constraints[fact.name]
        table.constraints[fact.name] = (replace(constraint, valid=True), world.number)
    elif what == "rename constraint" and fact.name in table.constraints:
        table.constraints[fact.text] = table.constraints.pop(fact.name)
    elif what in ("rename table", "set schema"):
        move_table(world, fact, table)
    elif column is not None:
        _alter_column(world, fact, table, column)


def _drop_column(world: World, fact: Fact, table: Table) -> None:
    """With a column go its indexes and its constraints, and with CASCADE the views that use it."""
    table.columns.pop(fact.name, None)
    for name, (constraint, _) in list(table.constraints.items()):
        if fact.name in constraint.columns or (constraint.kind == "check" and constraint.mentions & {fact.name}):
            del table.constraints[name]
    for name in world.indexes_of(table.name, fact.name):
        del world.indexes[name]
    if "cascade" in fact.flags:
        used = [name for name, view in world.views.items() if view.uses(bare_name(table.name), fact.name)]
        for name in used:
            _forget(world, name)
            _drop_views_of(world, name)


def _drop_views_of(world: World, name: str) -> None:
    """DROP … CASCADE: the views that use a table or a view go with it."""
    for other in [other for other, view in world.views.items() if other != name and view.names(bare_name(name))]:
        if other in world.tables:
            _forget(world, other)
            _drop_views_of(world, other)


def _forget(world: World, name: str) -> None:
    world.tables.pop(name, None)
    world.views.pop(name, None)
    for index in world.indexes_on(name):
        del world.indexes[index]


def _drop(world: World, fact: Fact) -> None:
    kind = fact.what.removeprefix("drop ")
    for name in fact.others:
        if kind in ("table", "view", "materialized view"):
            _forget(world, name)
            for other in world.referring(name):  # their foreign keys to it were dropped before, or go by CASCADE
                for key in [key for key, (one, _) in other.constraints.items() if one.references == name]:
                    del other.constraints[key]
            if "cascade" in fact.flags:
                _drop_views_of(world, name)
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


def _is_volatile(fact: Fact, world: World) -> bool:
    """Whether a function gives another value for every row. One of SQL is inlined, so what it calls decides."""
    if fact.flags & {"immutable", "stable"}:
        return False
    if fact.text == "sql":
        return world.volatile(fact.words) is not False or _reads_table(fact.words)
    return True


_TAKE_FROM = ("EXTRACT", "SUBSTRING", "TRIM", "OVERLAY", "POSITION")


def _reads_table(words: tuple[str, ...]) -> bool:
    """Whether there is a FROM, other than in EXTRACT(… FROM …) and its like, and in IS DISTINCT FROM."""
    callers: list[str] = []
    for i, word in enumerate(words):
        if word == "(":
            callers.append(words[i - 1] if i else "")
        elif word == ")" and callers:
            callers.pop()
        elif word == "FROM" and not (callers and callers[-1] in _TAKE_FROM) and words[i - 1 : i] != ("DISTINCT",):
            return True
    return False


def _alter_column(world: World, fact: Fact, table: Table, column: Column) -> None:
    what = fact.what
    if what == "rename column":
        rename_column(world, fact, table, column)
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
    "rename other": rename_other,
    "time zone": _set_time_zone,
    "search path": _set_search_path,
    "detach": _detach,
    "attach": _attach,
}
