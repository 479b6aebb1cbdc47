"""Judge what ALTER TABLE and RENAME do to tables by what exists: rewrites, scans, locks of other tables."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.analysis.facts import Column, Constraint, Fact
from orchestrator.analysis.hits import AE, SRE, Hit, Rule, Unit
from orchestrator.analysis.types import Cost, Type, changed, read_type
from orchestrator.analysis.words import Words, identifier
from orchestrator.analysis.world import World

_REWRITES = "rewrites a table while nobody can read it"
_MAY_REWRITE = "may rewrite a table while nobody can read it"
_CHECKS = "checks a table while nobody can read it"
_KEY = "builds an index while nobody can read its table"
_ANEW = "builds indexes anew while nobody can read their table"
_RENAMES = "renames what running programs use"


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
        yield Hit("PG201", at, _MAY_REWRITE if maybe else _REWRITES, table, AE, maybe)
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
    made = world.new_columns.get((fact.table, fact.name), -1)
    if fact.words and fact.name not in map(identifier, fact.words) and not world.made_now(made):
        what = f"puts something else into column {fact.table}.{fact.name}: USING does not read it"
        yield Hit("PG102", fact.at, what, fact.table, AE)
    cost = _type_cost(world, fact, fact.type)
    if cost is Cost.REWRITE:
        yield Hit("PG201", fact.at, _REWRITES, fact.table, AE)
    elif cost is Cost.MAY:
        yield Hit("PG201", fact.at, _MAY_REWRITE, fact.table, AE, maybe=True)
    elif cost is Cost.INDEX:
        found = world.table(fact.table)
        if found is None or not found.whole or world.indexes_of(fact.table, fact.name):
            yield Hit("PG203", fact.at, _ANEW, fact.table, AE)
    elif any(fact.name in index.mentions for index in world.indexes_on(fact.table).values()):
        yield Hit(
            "PG203", fact.at, _ANEW, fact.table, AE
        )  # an index with an expression or a WHERE, even for the same type
    if cost in (Cost.NONE, Cost.INDEX) and _is_checked(world, fact):
        yield Hit("PG202", fact.at, "checks every row again by a CHECK while nobody can read the table", fact.table, AE)
    yield from _ties(world, fact, "makes {} anew and locks {} too", frozenset())


def _is_checked(world: World, fact: Fact) -> bool:
    """Whether a validated CHECK mentions the column: it is made anew with the new type, and reads the whole table."""
    table, column = world.table(fact.table), world.column(fact.table, fact.name)
    if table is None or column is None or column.type == fact.type:
        return False
    checks = [one for one, _ in table.constraints.values() if one.kind == "check" and one.valid]
    return any(fact.name in one.mentions for one in checks)


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
        yield Hit("PG201", fact.at, _MAY_REWRITE if maybe else _REWRITES, fact.table, AE, maybe)


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


def _drop_column(world: World, fact: Fact, unit: Unit) -> Iterator[Hit]:
    if world.is_new(fact.table) or _added_now(world, fact):
        return
    yield Hit("PG102", fact.at, f"drops column {fact.table}.{fact.name} and what is in it", fact.table, AE)
    if "cascade" in fact.flags:
        yield Hit("PG103", fact.at, f"drops what depends on {fact.table}.{fact.name}", fact.table, AE)
    yield from _ties(world, fact, "drops {} and locks {} too", unit.dropped)


def _ties(world: World, fact: Fact, what: str, gone: frozenset[str]) -> Iterator[Hit]:
    """Say which tables are locked because a foreign key ties them to the column."""
    others = [one for one in world.tied_by(fact.table, fact.name) if not world.is_quiet(one) and one not in gone]
    if len(others) == 1:
        yield Hit("PG301", fact.at, what.format("a foreign key", "the table at its other end"), others[0], AE)
    elif others:
        ends = f"the tables at their other ends ({', '.join(others)})"
        yield Hit("PG301", fact.at, what.format("foreign keys", ends), others[0], AE)


def _added_now(world: World, fact: Fact) -> bool:
    """Whether the plan itself added this column."""
    return world.made_now(world.new_columns.get((fact.table, fact.name), -1)) and "if exists" not in fact.flags


def _attach(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    part, parent = world.table(fact.name), world.table(fact.table)
    checked = part is not None and any(one.kind == "check" and one.valid for one, _ in part.constraints.values())
    if not world.is_quiet(fact.name) and not checked and "default" not in fact.flags:
        yield Hit("PG202", fact.at, "checks the new partition while nobody can read it", fact.name, AE)
    if parent is not None and not world.is_quiet(fact.table):
        yield from beside_default(world, fact, parent.default_partition)
        for key in parent.foreign_keys():
            if not world.is_quiet(key.references) and not world.is_quiet(fact.name):
                yield Hit("PG204", fact.at, "checks the foreign keys of the new partition", key.references, SRE)


def beside_default(world: World, fact: Fact, default: str) -> Iterator[Hit]:
    """Say that a new partition beside a default one checks that one."""
    if default and "default" not in fact.flags and not world.is_quiet(default):
        yield Hit("PG202", fact.at, "checks the default partition while nobody can read it", default, AE)


def _detach(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if "concurrently" not in fact.flags and not world.is_quiet(fact.table):
        yield Hit("PG302", fact.at, "locks the partitioned table and all its partitions' readers out", fact.table, AE)


def _rename(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    new = world.is_new(fact.table)
    if fact.what == "rename column":
        new = new or _added_now(world, fact)
    known = world.constraint(fact.table, fact.name) if fact.what == "rename constraint" else None
    if known and known[0].kind not in ("unique", "primary key", "exclude"):
        return  # a program can name a constraint in ON CONFLICT alone, which takes one with an index
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


ALTER_RULES: dict[str, Rule] = {
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
}
"""The rule for each fact of ALTER, by its name."""
