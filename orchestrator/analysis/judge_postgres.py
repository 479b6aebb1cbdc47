"""Judge the facts of PostgreSQL statements by what exists: which rule a fact breaks, on which table, with which lock."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.analysis.facts import Constraint, Fact
from orchestrator.analysis.hits import AE, SHARE, SRE, Hit, Rule, Unit
from orchestrator.analysis.judge_alter import ALTER_RULES, beside_default
from orchestrator.analysis.words import Words, calls
from orchestrator.analysis.world import World

_REWRITES = "rewrites a table while nobody can read it"
_WRITES_LITERALS = re.compile(r"(?:INSERT\s+INTO|UPDATE(?:\s+ONLY)?)\s+(?P<table>[^\s(]+)", re.IGNORECASE)
_LOOKS_ELSEWHERE = re.compile(r"\b(?:SELECT|FROM|CAST|WITH)\b|::", re.IGNORECASE)


def judge(world: World, fact: Fact, unit: Unit) -> list[Hit]:
    """Return what is to be said of a fact, before it is applied to the world. Never more than once the same."""
    rule = _RULES.get(fact.what)
    hits = list(rule(world, fact, unit)) if rule else []
    hits += _new_syntax(fact, unit)
    return list(dict.fromkeys(hits))


# ---------------------------------------------------------------- CREATE, DROP


def _create_table(world: World, fact: Fact, _: Unit) -> Iterator[Hit]:
    if "if not exists" in fact.flags and world.table(fact.table) is not None:
        return
    if "partition" in fact.flags and not world.is_quiet(fact.name):
        yield Hit("PG302", fact.at, "locks the partitioned table and all its readers out", fact.name, AE)
        parent = world.table(fact.name)
        yield from beside_default(world, fact, parent.default_partition if parent else "")
    keys = [*fact.constraints, *(one for column in fact.columns for one in column.constraints)]
    for referenced in dict.fromkeys(key.references for key in keys if key.kind == "foreign key"):
        if referenced != fact.table and not world.is_quiet(referenced):
            yield Hit("PG303", fact.at, "locks the referenced table against writes for a moment", referenced, SRE)


def _create_index(world: World, fact: Fact, unit: Unit) -> Iterator[Hit]:
    table = world.table(fact.table)
    if "concurrently" in fact.flags:
        yield from _concurrently(fact, unit)
        if table is not None and table.partitioned and "only" not in fact.flags:
            yield Hit("PG407", fact.at, "CREATE INDEX CONCURRENTLY fails on a partitioned table", fact.table)
        return
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
        indexes = filter(None, map(world.indexes.get, fact.others))
        for owner in filter(None, (world.table(index.table) for index in indexes)):
            if owner.partitioned:
                yield Hit("PG407", fact.at, "DROP INDEX CONCURRENTLY fails on a partitioned table", owner.name)
        return
    for name in fact.others:
        index = world.indexes.get(name)
        if index is None and world.complete and "if exists" in fact.flags:
            continue  # as far as the files tell there is none: so begins a file that can run twice
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


def _drop_owned(_: World, fact: Fact, __: Unit) -> Iterator[Hit]:
    for name in fact.others:
        yield Hit("PG101", fact.at, f"drops everything in this database that {name} owns", "", AE)
        if "cascade" in fact.flags:
            yield Hit("PG103", fact.at, f"drops what depends on what {name} owns", "", AE)


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
        unit.values[fact.text] = (made and not unit.version, fact.name)
    return iter(())


def uses_new_value(world: World, source: str, facts: list[Fact], unit: Unit) -> list[Hit]:
    """Return a hit if a statement uses an enum value that its own transaction has added."""
    if not unit.values or any(fact.what in ("add value", "create function") for fact in facts):
        return []
    head = source[:12].upper()
    if head.startswith(("COMMENT", "DO")):
        return []
    for value, (maybe, enum) in unit.values.items():
        quoted = "'" + value.replace("'", "''") + "'"
        if quoted in source and not _only_other_types(world, source, enum):
            what = f"uses the enum value {quoted}, which can be used only after the transaction that adds it"
            what += " (before PostgreSQL 17)" if maybe else ""
            return [Hit("PG402", source.index(quoted), what, maybe=maybe)]
    return []


def _only_other_types(world: World, source: str, enum: str) -> bool:
    """Whether a statement writes literals to a table of which all columns are known, and none is of this type."""
    found = _WRITES_LITERALS.match(source)
    table = world.table(world.resolved(Words(found["table"]).name())) if found else None
    if table is None or not table.whole or _LOOKS_ELSEWHERE.search(source):
        return False
    return all(column.type.built_in and column.type.name != enum for column in table.columns.values())


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
    if old and fact.text not in ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"):
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
    **ALTER_RULES,
    "create table": _create_table,
    "create index": _create_index,
    "drop index": _drop_index,
    "drop table": _drop_table,
    "drop materialized view": _drop_table,
    "drop schema": _drop_container,
    "drop database": _drop_container,
    "drop owned": _drop_owned,
    "drop type": _drop_type,
    "drop domain": _drop_type,
    **{f"drop {kind}": _drop_other for kind in ("view", "sequence", "function", "procedure", "routine", "aggregate",
       "extension", "trigger", "rule", "policy", "collation", "operator", "server", "language", "cast")},
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
