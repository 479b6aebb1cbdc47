"""Read statements that change or remove rows into facts: which table, and whether all of its rows."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.analysis.facts import Fact
from orchestrator.analysis.words import STRING, Words


def read_update(words: Words, at: int) -> Iterator[Fact]:
    """Yield the fact of an UPDATE; the cursor stands behind that word."""
    words.take("ONLY")
    table = words.name()
    words.take("*")
    yield Fact("update", at, table, words=tuple(words.rest()), flags=_condition(words, ("FROM",)))


def read_delete(words: Words, at: int) -> Iterator[Fact]:
    """Yield the fact of a DELETE; the cursor stands behind that word."""
    words.take("FROM")
    words.take("ONLY")
    table = words.name()
    limited = "LIMIT" in words.rest()  # which MySQL and SQLite know
    yield Fact("delete", at, table, flags=frozenset() if limited else _condition(words, ("USING",)))


_COMPARES = frozenset(
    ("IS", "IN", "LIKE", "ILIKE", "BETWEEN", "EXISTS", "NOT", "ANY", "OR", "NULL", "TRUE", "FALSE", "<", ">", STRING)
)
_ENDS = ("RETURNING",)
_LIMITS = frozenset(("LIMIT", "FETCH"))


def _condition(words: Words, joins: tuple[str, ...]) -> frozenset[str]:
    """Say of an UPDATE or DELETE whether it changes `all` rows, or those that it `joins`."""
    depth, where, flags, end = 0, -1, set(), words.size
    for i in range(words.i, words.size):
        word = words.words[i]
        depth += (word == "(") - (word == ")")
        if depth < 0:
            end = min(end, i)
            break
        if depth:
            continue
        if word in joins:
            flags.add("joined")
        elif word == "WHERE" and where < 0:
            where = i + 1
        elif word in _ENDS:
            end = min(end, i)
    condition = [word for word in words.words[where:end] if word not in "()"] if where >= 0 else []
    if where < 0 or _is_true(condition):
        return frozenset(("all",)) if "joined" not in flags or where >= 0 else frozenset(("all", "joined"))
    if flags and _LIMITS & set(words.words[:end]):
        return frozenset(("joined",))  # a batch
    if "joined" in flags and not any(word in _COMPARES or word[0].isdigit() for word in condition):
        return frozenset(("joined", "joins alone"))
    return frozenset(flags)


def _is_true(condition: list[str]) -> bool:
    """Whether a condition holds for every row, by what it says: true, 1 = 1, or one of these OR more."""
    first = condition[: condition.index("OR")] if "OR" in condition and "AND" not in condition else condition
    if first in (["TRUE"], ["1"], ["NOT", "FALSE"]):
        return True
    return len(first) == 3 and first[1] == "=" and first[0] == first[2] and first[0] not in ("NULL", STRING)


def read_merge(words: Words, at: int) -> Iterator[Fact]:
    """MERGE changes every row that it finds in the other table, unless WHEN MATCHED has a condition of its own."""
    words.take("INTO")
    words.take("ONLY")
    table, rest = words.name(), words.rest()
    changes = any(rest[i : i + 4] == ["WHEN", "MATCHED", "THEN", "UPDATE"] for i in range(len(rest)))
    if changes and not _LIMITS & set(words.words[: words.size]):
        yield Fact("update", at, table, flags=frozenset(("joined", "joins alone")))
    others = ["WHEN", "NOT", "MATCHED", "BY", "SOURCE", "THEN", "DELETE"]
    if any(rest[i : i + len(others)] == others for i in range(len(rest))):
        yield Fact("delete", at, table, flags=frozenset(("other rows",)))


def read_with(words: Words, at: int) -> Iterator[Fact]:
    """Find the UPDATE and DELETE of WITH, at the top level and as its parts."""
    depth = 0
    for i in range(1, words.size):
        word = words.words[i]
        depth += (word == "(") - (word == ")")
        before = words.words[i - 1]
        part = depth and before == "(" and (_is_with_part(words, i) or i == 2)  # 2: COPY (DELETE …) TO
        begins = part or (not depth and before == ")")
        if begins and (read := {"UPDATE": read_update, "DELETE": read_delete, "MERGE": read_merge}.get(word)):
            yield from read(words.within(i + 1, words.size), at)


def _is_with_part(words: Words, i: int) -> bool:
    before = [word for word in words.words[max(0, i - 4) : i - 1] if word not in ("NOT", "MATERIALIZED")]
    return before[-1:] == ["AS"]


def read_truncate(words: Words, at: int) -> Iterator[Fact]:
    """Yield the fact of a TRUNCATE; the cursor stands behind that word."""
    words.take("TABLE")
    flags = frozenset({"cascade"} if "CASCADE" in words.rest() else ())
    yield Fact("truncate", at, others=tuple(words.names()), flags=flags)
