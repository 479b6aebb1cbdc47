"""Judge the facts of PostgreSQL statements by what exists: which rule a fact breaks, on which table, with which lock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from orchestrator.analysis.facts import Constraint, Fact
from orchestrator.analysis.hits import AE, SHARE, SRE, Hit, Rule, Unit
from orchestrator.analysis.judge_alter import ALTER_RULES, beside_default
from orchestrator.analysis.judge_losses import LOSES
from orchestrator.analysis.judge_views import used_by_views
from orchestrator.analysis.words import Words, calls
from orchestrator.analysis.world import World
from orchestrator.patterns import regex

_REWRITES = "rewrites a table while nobody can read it"
_WRITES_LITERALS = regex(r"(?:INSERT\s+INTO|UPDATE(?:\s+ONLY)?)\s+(?P<table>[^\s(]+)", re.IGNORECASE)
_LOOKS_ELSEWHERE = regex(r"\b(?:SELECT|FROM|CAST|WITH)\b|::", re.IGNORECASE)


def judge(world: World, fact: Fact, unit: Unit) -> list[Hit]:
    """Return what is to be said of a fact, before it is applied to the world. Never more than once the same."""
    rule = _RULES.get(fact.what)
    hits = list(rule(world, fact, unit)) if rule else []
    hits += _new_syntax(fact, unit)
    hits += used_by_views(world, fact)
    hits = [kept for hit in hits if (kept := _on_emptied(hit, unit)) is not None]
    _empty(fact, unit)
    return list(dict.fromkeys(hits))


_OF_ROWS = frozenset(("PG201", "PG202", "PG203", "PG204", "PG206", "PG401", "PG601"))


def _on_emptied(hit: Hit, unit: Unit) -> Hit | None:
    """Return what is to be said of a table that the same transaction has emptied: nothing, if nobody could fill it again."""
    locked = unit.emptied.get(hit.table)
    if locked is None or hit.code not in _OF_ROWS:
        return hit
    if locked:
        return None
    return hit._replace(maybe=True) if hit.code == "PG401" else hit


def _empty(fact: Fact, unit: Unit) -> None:
    if fact.what == "truncate":
        unit.emptied |= dict.fromkeys(fact.others, True)
    elif fact.what == "delete" and "all" in fact.flags:
        unit.emptied.setdefault(fact.table, False)


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


def uses_new_value(world: World, source: str, facts: Sequence[Fact], unit: Unit) -> list[Hit]:
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
    if world.has_new_rows(fact.table):
        return
    if "all" in fact.flags and "joined" not in fact.flags:
        yield Hit("PG601", fact.at, "rewrites every row of a table", fact.table, "ROW EXCLUSIVE")
    elif fact.flags & {"joins alone", "all"}:
        yield Hit("PG601", fact.at, "may rewrite every row of a table", fact.table, "ROW EXCLUSIVE", maybe=True)


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
    **LOSES,
    "domain add": _domain,
    "domain validate": _domain,
    "domain not null": _domain,
    "add value": _add_value,
    "update": _update,
    "vacuum full": _whole_table,
    "cluster": _whole_table,
    "reindex": _reindex,
    "refresh": _refresh,
    "lock": _lock,
    "dynamic": _dynamic,
}  # fmt: skip
