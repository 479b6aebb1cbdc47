"""Find broken lint rules in PostgreSQL statements, given the objects that exist before each statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.analysis.facts import Column, Constraint, Fact
from orchestrator.analysis.types import Cost, Type, changed, read_type
from orchestrator.analysis.words import Words, calls, identifier
from orchestrator.analysis.world import World

AE, SRE, SHARE = "ACCESS EXCLUSIVE", "SHARE ROW EXCLUSIVE", "SHARE"
_REWRITES = "rewrites a table while nobody can read it"
_CHECKS = "checks a table while nobody can read it"
_KEY = "builds an index while nobody can read its table"
_RENAMES = "renames what running programs use"


class Hit(NamedTuple):
    """A rule that a fact breaks. `maybe`: what the table is like is not known, so it may be harmless."""

    code: str
    at: int
    what: str
    table: str = ""
    lock: str = ""
    maybe: bool = False


@dataclass
class Unit:
    """What commits together: a file, or a statement or block of one that runs piece by piece.

    `number` statements in it; `version` is the server's, 0 if it is not told.
    """

    statements: int = 1
    version: int = 0
    invalid: dict[tuple[str, str], Constraint] = field(default_factory=dict)
    values: dict[str, bool] = field(default_factory=dict)
    made_types: set[str] = field(default_factory=set)
    created_later: frozenset[str] = frozenset()


Rule = Callable[[World, Fact, Unit], Iterator[Hit]]


def judge(world: World, fact: Fact, unit: Unit) -> list[Hit]:
    """Return what is to be said of a fact, before it is applied to the world. Never more than once the same."""
    rule = _RULES.get(fact.what)
    hits = list(rule(world, fact, unit)) if rule else []
    hits += _new_syntax(fact, unit)
    return list(dict.fromkeys(hits))


# ---------------------------------------------------------------- ALTER TABLE


def _add_column(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    column = fact.column
    if column is None or world.is_quiet(fact.table):
        return
    if "if not exists" in fact.flags and world.column(fact.table, column.name) is not None:
        return
    at, table = fact.at, fact.table
    rewritten = _rewrites(world, column)
    if rewritten is not Cost.NONE:
        maybe = rewritten is Cost.MAY
        yield Hit("PG201", at, "may rewrite a table while nobody can read it" if maybe else _REWRITES, table, AE, maybe)
    filled = bool(column.default) and column.default[0] != "NULL"
    domain = world.domains.get(column.type.name)
    if column.not_null and not (filled or column.identity or column.serial or column.generated or domain):
        yield Hit(
            "PG401", at, "adds a NOT NULL column without a default, which fails if the table has rows", table, AE,
            not column.type.built_in,
        )  # fmt: skip
    for constraint in column.constraints:
        if constraint.kind in ("unique", "primary key"):
            yield Hit("PG203", at, _KEY, table, AE)
        elif constraint.kind == "check" and constraint.enforced and rewritten is Cost.NONE:
            yield Hit("PG202", at, _CHECKS, table, AE)
        elif constraint.kind == "foreign key" and (filled or column.generated == "stored"):
            yield Hit("PG204", at, _CHECKS, table, AE)
        elif constraint.kind == "foreign key" and not world.is_quiet(constraint.references):
            yield Hit("PG303", at, "locks the referenced table against writes for a moment", constraint.references, SRE)


def _rewrites(world: World, column: Column) -> Cost:
    """Return whether adding a column rewrites its table."""
    if column.serial or column.identity or column.generated == "stored":
        return Cost.REWRITE
    if column.generated == "virtual":
        return Cost.NONE
    domain = world.domains.get(column.type.name)
    if domain is not None and domain.constrained and not column.type.array:
        return Cost.REWRITE
    volatile = world.volatile(column.default)
    if volatile:
        return Cost.REWRITE
    unknown_type = domain is None and not column.type.built_in and column.type.name not in world.types
    return Cost.MAY if volatile is None or (unknown_type and _may_be_domain(world, column.type)) else Cost.NONE


def _may_be_domain(world: World, kind: Type) -> bool:
    return bool(kind.name) and not kind.array and kind.name not in world.tables


def _add_constraint(world: World, fact: Fact, unit: Unit) -> Iterator[Hit]:
    constraint = fact.constraint
    if constraint is None:
        return
    if not constraint.valid and constraint.enforced:
        unit.invalid[fact.table, constraint.name] = constraint
    if world.is_quiet(fact.table):
        return
    at, table, kind = fact.at, fact.table, constraint.kind
    if kind == "foreign key" and constraint.valid:
        yield Hit("PG204", at, "checks a table while nobody can write to it", table, SRE)
    elif kind == "foreign key":
        found = world.table(table)
        if found is not None and found.partitioned and unit.version and unit.version < 18:
            yield Hit(
                "PG404", at, "adds a NOT VALID foreign key to a partitioned table, which fails before 18", table, SRE
            )
        if constraint.references and not world.is_quiet(constraint.references):
            yield Hit("PG303", at, "locks the referenced table against writes for a moment", constraint.references, SRE)
    elif constraint.index:
        if kind == "primary key" and (maybe := _nullable(world, table, constraint)) is not False:
            what = "checks a table while nobody can read it" if maybe else "may check a table while nobody can read it"
            yield Hit("PG202", at, what, table, AE, maybe is None)
    elif kind in ("unique", "primary key", "exclude"):
        yield Hit("PG203", at, _KEY, table, AE)
    elif constraint.valid and not (kind == "not null" and _is_not_null(world, table, constraint.columns[0], unit)):
        yield Hit("PG202", at, _CHECKS, table, AE)


def _nullable(world: World, table: str, constraint: Constraint) -> bool | None:
    """Whether a column of the index of a new primary key may be null; None if that is not known."""
    index = world.indexes.get(constraint.index)
    columns = [world.column(table, name) for name in index.columns] if index else [None]
    if any(column is None for column in columns):
        return None
    return any(column is not None and not column.not_null for column in columns)


def _is_not_null(world: World, table: str, name: str, unit: Unit) -> bool:
    """Whether no row can have a null there: the column is NOT NULL, or a validated CHECK of an earlier file says so."""
    column, found = world.column(table, name), world.table(table)
    if column is not None and column.not_null:
        return True
    constraints = found.constraints.items() if found else ()
    return any(
        one.valid and name in one.not_null_of and (table, key) not in unit.invalid for key, (one, _) in constraints
    )


def _set_not_null(world: World, fact: Fact, unit: Unit) -> Iterator[Hit]:
    if not world.is_quiet(fact.table) and not _is_not_null(world, fact.table, fact.name, unit):
        yield Hit("PG202", fact.at, _CHECKS, fact.table, AE)


def _type(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if world.is_quiet(fact.table) or fact.type is None:
        return
    cost = _type_cost(world, fact, fact.type)
    if cost is Cost.REWRITE:
        yield Hit("PG201", fact.at, _REWRITES, fact.table, AE)
    elif cost is Cost.MAY:
        yield Hit("PG201", fact.at, "may rewrite a table while nobody can read it", fact.table, AE, maybe=True)
    elif cost is Cost.INDEX:
        found = world.table(fact.table)
        if found is None or not found.whole or world.indexes_of(fact.table, fact.name):
            yield Hit("PG203", fact.at, "builds indexes anew while nobody can read their table", fact.table, AE)


def _type_cost(world: World, fact: Fact, new: Type) -> Cost:
    column = world.column(fact.table, fact.name)
    if fact.words and not _casts_in_place(fact, new):
        return Cost.REWRITE
    if column is None:
        return Cost.MAY
    old, domain = column.type, world.domains.get(new.name)
    if domain is not None and old != new:
        if domain.constrained:
            return Cost.REWRITE
        new = domain.type
    was = world.domains.get(old.name)
    if was is not None and was.type.name:
        old = was.type
    elif not old.built_in and old != new and old.name not in world.types:
        return Cost.MAY
    if domain is None and not new.built_in and new.name not in world.types and old != new:
        return Cost.MAY
    cost = changed(old, new, world.utc)
    if cost is Cost.REWRITE and fact.words and old.name == "timestamp":
        return cost
    return Cost.INDEX if cost is Cost.NONE and "collate" in fact.flags else cost


def _casts_in_place(fact: Fact, new: Type) -> bool:
    """Whether USING is the column itself, or no more than its cast to the new type."""
    words = list(fact.words)
    while words[:1] == ["("] and words[-1:] == [")"]:
        words = words[1:-1]
    if words and identifier(words[0]) == fact.name:
        if len(words) == 1:
            return True
        if words[1:3] == [":", ":"]:
            return read_type(Words(" ".join(words[3:]))) == new
    if words[:2] == ["CAST", "("] and len(words) > 4 and identifier(words[2]) == fact.name and words[3] == "AS":
        return read_type(Words(" ".join(words[4:-1]))) == new
    return False


def _set_expression(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    column = world.column(fact.table, fact.name)
    if not world.is_quiet(fact.table) and not (column and column.generated == "virtual"):
        maybe = column is None
        yield Hit(
            "PG201",
            fact.at,
            "may rewrite a table while nobody can read it" if maybe else _REWRITES,
            fact.table,
            AE,
            maybe,
        )


def _moves(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    """SET LOGGED, UNLOGGED, TABLESPACE, ACCESS METHOD: the whole table is written again."""
    same = (fact.what, fact.name) in (("set tablespace", "pg_default"), ("set access method", "heap"))
    if not same and not world.is_quiet(fact.table):
        yield Hit("PG201", fact.at, _REWRITES, fact.table or fact.name, AE)


def _validate(world: World, fact: Fact, unit: Unit) -> Iterator[Hit]:
    added = unit.invalid.get((fact.table, fact.name))
    if added is not None and not world.is_quiet(fact.table):
        lock = SRE if added.kind == "foreign key" else AE
        who = "write to it" if added.kind == "foreign key" else "read it"
        what = f"validates in the transaction that added the constraint: checks a table while nobody can {who}"
        yield Hit("PG206", fact.at, what, fact.table, lock)


def _alter_constraint(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if world.is_quiet(fact.table):
        return
    known = world.constraint(fact.table, fact.name)
    parent = known[0].references if known else ""
    if "enforced" in fact.flags:
        yield Hit("PG202", fact.at, _CHECKS, fact.table, AE)
    elif "not enforced" in fact.flags and not world.is_quiet(parent):
        yield Hit("PG301", fact.at, "locks the referenced table too", parent, AE, not parent)


def _drop_constraint(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    known = world.constraint(fact.table, fact.name)
    parent = known[0].references if known else ""
    if "cascade" in fact.flags and not world.is_quiet(fact.table):
        yield Hit("PG103", fact.at, f"drops what depends on constraint {fact.name}", fact.table, AE)
    looks = parent or (not known and (fact.name.endswith(("_fkey", "_fk")) or fact.name.startswith(("fk_", '"FK_'))))
    if looks and not world.is_quiet(fact.table) and not (parent and world.is_quiet(parent)):
        yield Hit("PG301", fact.at, "drops a foreign key and locks the referenced table too", parent, AE, not parent)


def _drop_column(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if world.is_new(fact.table) or _added_now(world, fact):
        return
    yield Hit("PG102", fact.at, f"drops column {fact.table}.{fact.name} and what is in it", fact.table, AE)
    if "cascade" in fact.flags:
        yield Hit("PG103", fact.at, f"drops what depends on {fact.table}.{fact.name}", fact.table, AE)


def _added_now(world: World, fact: Fact) -> bool:
    """Whether the plan itself added this column."""
    return world.made_now(world.new_columns.get((fact.table, fact.name), -1)) and "if exists" not in fact.flags


def _attach(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    part, parent = world.table(fact.name), world.table(fact.table)
    checked = part is not None and any(one.kind == "check" and one.valid for one, _ in part.constraints.values())
    if not world.is_quiet(fact.name) and not checked and "default" not in fact.flags:
        yield Hit("PG202", fact.at, "checks the new partition while nobody can read it", fact.name, AE)
    if parent is not None and not world.is_quiet(fact.table):
        yield from _beside_default(world, fact, parent.default_partition)
        for key in parent.foreign_keys():
            if not world.is_quiet(key.references) and not world.is_quiet(fact.name):
                yield Hit("PG204", fact.at, "checks the foreign keys of the new partition", key.references, SRE)


def _beside_default(world: World, fact: Fact, default: str) -> Iterator[Hit]:
    if default and "default" not in fact.flags and not world.is_quiet(default):
        yield Hit("PG202", fact.at, "checks the default partition while nobody can read it", default, AE)


def _detach(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if "concurrently" not in fact.flags and not world.is_quiet(fact.table):
        yield Hit("PG302", fact.at, "locks the partitioned table and all its partitions' readers out", fact.table, AE)


def _rename(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    new = world.is_new(fact.table)
    if fact.what == "rename column":
        new = new or _added_now(world, fact)
    if not new:
        yield Hit(
            "PG501",
            fact.at,
            _RENAMES if fact.what != "set schema" else "moves what running programs use",
            fact.table,
            AE,
        )


def _rename_other(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if fact.text in ("index", "trigger", "policy", "rule", "type attribute", "role", "user"):
        return
    made = {
        "type": world.types.get(fact.name, -1),
        "type value": world.types.get(fact.name, -1),
        "domain": world.domains[fact.name].made if fact.name in world.domains else -1,
        "function": world.functions.get(fact.name, (False, -1))[1],
    }.get(fact.text, world.others.get((fact.text, fact.name), -1))
    if not world.made_now(made):
        yield Hit("PG501", fact.at, _RENAMES, fact.name)


def _default_gone(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if not world.is_quiet(fact.table):
        yield Hit("PG502", fact.at, "takes away what running programs may rely on", fact.table, AE)


# ---------------------------------------------------------------- CREATE, DROP


def _create_table(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if "if not exists" in fact.flags and world.table(fact.table) is not None:
        return
    if "partition" in fact.flags and not world.is_quiet(fact.name):
        yield Hit("PG302", fact.at, "locks the partitioned table and all its readers out", fact.name, AE)
        parent = world.table(fact.name)
        yield from _beside_default(world, fact, parent.default_partition if parent else "")
    keys = [*fact.constraints, *(one for column in fact.columns for one in column.constraints)]
    for referenced in dict.fromkeys(key.references for key in keys if key.kind == "foreign key"):
        if referenced != fact.table and not world.is_quiet(referenced):
            yield Hit("PG303", fact.at, "locks the referenced table against writes for a moment", referenced, SRE)


def _create_index(world: World, fact: Fact, unit: Unit) -> Iterator[Hit]:
    if "concurrently" in fact.flags:
        yield from _concurrently(fact, unit)
        return
    table = world.table(fact.table)
    if "if not exists" in fact.flags and fact.name in world.indexes:
        return
    empty = "only" in fact.flags and (table is None or table.partitioned)
    if not empty and not world.is_quiet(fact.table):
        yield Hit("PG203", fact.at, "builds an index while nobody can write to its table", fact.table, SHARE)


def _concurrently(fact: Fact, unit: Unit) -> Iterator[Hit]:
    if unit.statements > 1:
        yield Hit(
            "PG405", fact.at, "CONCURRENTLY beside other statements: the file is no longer one transaction", fact.table
        )


def _drop_index(world: World, fact: Fact, unit: Unit) -> Iterator[Hit]:
    if "concurrently" in fact.flags:
        yield from _concurrently(fact, unit)
        return
    for name in fact.others:
        index = world.indexes.get(name)
        if not (index and (world.made_now(index.made) or world.is_quiet(index.table))):
            table = index.table if index else ""
            yield Hit("PG503", fact.at, "drops an index that queries may need, and locks its table", table, AE)


def _drop_table(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    for name in fact.others:
        found = world.table(name)
        if world.is_new(name):
            continue
        absent = found is None and world.complete and "if exists" in fact.flags  # as far as the files tell
        yield Hit(
            "PG101", fact.at, f"{fact.what.replace('drop', 'drops', 1)} {name} and what is in it", name, AE, absent
        )
        if "cascade" in fact.flags:
            yield Hit("PG103", fact.at, f"drops what depends on {name}", name, AE, absent)
        if found is not None:
            parents = {key.references for key in found.foreign_keys()} - set(fact.others)
            if found.parent:
                yield Hit("PG302", fact.at, "locks the partitioned table and all its readers out", found.parent, AE)
            for parent in sorted(parents):
                if not world.is_quiet(parent):
                    yield Hit("PG301", fact.at, "drops a foreign key and locks the referenced table too", parent, AE)


def _drop_container(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    """DROP SCHEMA, DATABASE."""
    kind = fact.what.removeprefix("drop ")
    for name in fact.others:
        if not world.made_now(world.others.get((kind, name), -1)):
            code = "PG107" if kind == "database" else "PG101"
            yield Hit(code, fact.at, f"drops {kind} {name} and what is in it", name, AE)
            if "cascade" in fact.flags:
                yield Hit("PG103", fact.at, f"drops what depends on {kind} {name}", name, AE)


def _drop_type(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    kind = fact.what.removeprefix("drop ")
    for name in fact.others:
        made = world.domains[name].made if name in world.domains else world.types.get(name, -1)
        if "cascade" in fact.flags and not world.made_now(made):
            yield Hit("PG104", fact.at, f"drops {kind} {name} and the columns that have it", name, AE)


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


# ---------------------------------------------------------------- domains, enums


def _domain(world: World, fact: Fact, unit: Unit) -> Iterator[Hit]:
    domain = world.domains.get(fact.name)
    if fact.what == "domain add" and "valid" not in fact.flags:
        unit.invalid["", fact.name] = Constraint("check")
        return
    if domain is not None and world.made_now(domain.made):
        return
    users = [table.name for table in world.uses_domain(fact.name)]
    if domain is not None and world.complete and not any(not world.is_quiet(name) for name in users):
        return
    first = next((name for name in users if not world.is_quiet(name)), "")
    yield Hit(
        "PG205",
        fact.at,
        "checks every table that uses a domain while nobody can write to them",
        first or fact.name,
        SHARE,
    )


def _add_value(_: World, fact: Fact, unit: Unit) -> Iterator[Hit]:
    made = fact.name in unit.made_types  # from 17 on a value of a type of the same transaction can be used
    if fact.text and not (made and unit.version >= 17):
        unit.values[fact.text] = made and not unit.version
    return iter(())


def uses_new_value(source: str, facts: list[Fact], unit: Unit) -> list[Hit]:
    """Return a hit if a statement uses an enum value that its own transaction has added."""
    if not unit.values or any(fact.what in ("add value", "create function") for fact in facts):
        return []
    head = source[:12].upper()
    if head.startswith(("COMMENT", "DO")):
        return []
    for value, maybe in unit.values.items():
        quoted = "'" + value.replace("'", "''") + "'"
        if quoted in source:
            what = f"uses the enum value {quoted}, which can be used only after the transaction that adds it"
            what += " (before PostgreSQL 17)" if maybe else ""
            return [Hit("PG402", source.index(quoted), what, maybe=maybe)]
    return []


# ---------------------------------------------------------------- rows, and the rest


def _update(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if world.is_new(fact.table):
        return
    if "all" in fact.flags and "joined" not in fact.flags:
        yield Hit("PG601", fact.at, "rewrites every row of a table", fact.table, "ROW EXCLUSIVE")
    elif fact.flags & {"joins alone", "all"}:
        yield Hit("PG601", fact.at, "may rewrite every row of a table", fact.table, "ROW EXCLUSIVE", maybe=True)


def _delete(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if "all" in fact.flags and not world.is_new(fact.table):
        yield Hit("PG106", fact.at, f"deletes every row of {fact.table}", fact.table, "ROW EXCLUSIVE")


def _truncate(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    old = [name for name in fact.others if not world.is_new(name)]
    if old:
        yield Hit("PG105", fact.at, f"empties {', '.join(old)}", old[0], AE)
        if "cascade" in fact.flags:
            others = [name for name in world.foreign_keys_to(old[0]) if name not in fact.others]
            yield Hit("PG103", fact.at, f"empties what refers to {old[0]} too", others[0] if others else old[0], AE)


def _whole_table(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    """VACUUM FULL, CLUSTER."""
    if not (fact.table and world.is_quiet(fact.table)):
        yield Hit("PG201", fact.at, _REWRITES, fact.table, AE)


def _reindex(world: World, fact: Fact, unit: Unit) -> Iterator[Hit]:
    if "concurrently" in fact.flags:
        yield from _concurrently(fact, unit)
        return
    index = world.indexes.get(fact.name) if fact.text == "index" else None
    table = index.table if index else fact.name if fact.text == "table" else ""
    if not (table and world.is_quiet(table)):
        yield Hit("PG203", fact.at, "builds an index anew while nobody can write to its table", table, SHARE)


def _refresh(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if "no data" in fact.flags and not world.is_quiet(fact.table):
        yield Hit("PG504", fact.at, f"empties {fact.table}, which nobody can read until it is filled", fact.table, AE)
    elif not fact.flags & {"concurrently", "no data"} and not world.is_quiet(fact.table):
        yield Hit("PG207", fact.at, "fills a materialized view while nobody can read it", fact.table, AE)


def _lock(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    old = [name for name in fact.others if not world.is_quiet(name)]
    if old and fact.text not in ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE"):
        yield Hit("PG208", fact.at, "locks a table", old[0], fact.text)


def _dynamic(_: World, fact: Fact, __: Unit) -> Iterator[Hit]:
    yield Hit(
        "PG701", fact.at, "runs SQL that is put together while it runs, which nobody can judge before", maybe=True
    )


def _new_syntax(fact: Fact, unit: Unit) -> Iterator[Hit]:
    """Say what the server's release does not know yet."""
    if not unit.version:
        return
    needs: list[tuple[int, str]] = []
    constraints = [fact.constraint] if fact.constraint else []
    columns = [*fact.columns, *([fact.column] if fact.column else [])]
    for column in columns:
        constraints += column.constraints
        if column.generated == "virtual":
            needs.append((18, "a virtual generated column"))
        if "uuidv7" in calls(list(column.default)):
            needs.append((18, "uuidv7()"))
    needs += [(18, "NOT ENFORCED") for one in [*constraints, *fact.constraints] if not one.enforced]
    needs += [(18, "a NOT NULL constraint of a table") for one in constraints if one.kind == "not null"]
    if fact.what == "set expression":
        needs.append((17, "SET EXPRESSION"))
    if fact.what == "alter constraint" and fact.flags & {"enforced", "not enforced"}:
        needs.append((18, "ALTER CONSTRAINT … ENFORCED"))
    for release, what in needs:
        if unit.version < release:
            yield Hit(
                "PG406", fact.at, f"{what} needs PostgreSQL {release}, and the server is {unit.version}", fact.table
            )


_RULES: dict[str, Rule] = {
    "add column": _add_column,
    "add constraint": _add_constraint,
    "set not null": _set_not_null,
    "type": _type,
    "set expression": _set_expression,
    "set logged": _moves,
    "set tablespace": _moves,
    "set access method": _moves,
    "validate": _validate,
    "alter constraint": _alter_constraint,
    "drop constraint": _drop_constraint,
    "drop column": _drop_column,
    "attach": _attach,
    "detach": _detach,
    "rename table": _rename,
    "rename column": _rename,
    "rename constraint": _rename,
    "set schema": _rename,
    "rename other": _rename_other,
    "drop default": _default_gone,
    "drop not null": _default_gone,
    "create table": _create_table,
    "create index": _create_index,
    "drop index": _drop_index,
    "drop table": _drop_table,
    "drop materialized view": _drop_table,
    "drop schema": _drop_container,
    "drop database": _drop_container,
    "drop type": _drop_type,
    "drop domain": _drop_type,
    **{f"drop {kind}": _drop_other for kind in ("view", "sequence", "function", "procedure", "routine", "aggregate",
       "extension", "trigger", "rule", "policy", "owned", "collation", "operator", "server", "language", "cast")},
    "domain add": _domain,
    "domain validate": _domain,
    "domain not null": _domain,
    "add value": _add_value,
    "update": _update,
    "delete": _delete,
    "truncate": _truncate,
    "vacuum full": _whole_table,
    "cluster": _whole_table,
    "reindex": _reindex,
    "refresh": _refresh,
    "lock": _lock,
    "dynamic": _dynamic,
}  # fmt: skip
