"""Give tables the names by which they are known, where a file has set the search_path or has temporary tables."""

from __future__ import annotations

from orchestrator.analysis.facts import Column, Constraint, Fact
from orchestrator.analysis.world import UNQUALIFIED, World
from orchestrator.records import replace

_MAKES = frozenset(("create table", "create view", "create materialized view"))
_NAMES_TABLES = frozenset(("create table", "drop table", "drop view", "drop materialized view", "truncate", "lock"))
_NAMED = frozenset(("create table", "attach", "detach", "inherit"))  # whose `name` is a table too


def tells_public_apart(text: str) -> bool:
    """Whether `public.x` and `x` may be two things in a file, so that its statements are read with the word `public`."""
    lowered = text.lower()
    return "public" in lowered and ("temp" in lowered or "search_path" in lowered)


def located(world: World, fact: Fact, *, told_apart: bool) -> Fact:
    """Return a fact whose tables have their schema, if the file has set the search_path.

    `told_apart`: the fact was read with the word `public`, which goes where nothing else has the name.
    """
    if not world.path and not told_apart:
        return fact
    table = fact.table
    if fact.what in _MAKES and "temp" not in fact.flags and world.path and UNQUALIFIED.fullmatch(table):
        table = table if world.path[0] == "public" else f"{world.path[0]}.{table}"
    elif "temp" not in fact.flags:
        table = world.resolved(table) if table else ""
    named = fact.what in _NAMED or (fact.what == "reindex" and fact.text == "table")
    return replace(
        fact,
        table=table,
        name=world.resolved(fact.name) if named and fact.name else fact.name.removeprefix("public."),
        others=tuple(
            world.resolved(one) if fact.what in _NAMES_TABLES else one.removeprefix("public.") for one in fact.others
        ),
        constraint=_constraint(world, fact.constraint) if fact.constraint else None,
        constraints=tuple(_constraint(world, one) for one in fact.constraints),
        column=_column(world, fact.column) if fact.column else None,
        columns=tuple(_column(world, one) for one in fact.columns),
    )


def _constraint(world: World, constraint: Constraint) -> Constraint:
    return (
        replace(constraint, references=world.resolved(constraint.references)) if constraint.references else constraint
    )


def _column(world: World, column: Column) -> Column:
    return replace(column, constraints=tuple(_constraint(world, one) for one in column.constraints))
