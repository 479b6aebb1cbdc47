"""Find broken lint rules in statements of MySQL and MariaDB, given the tables that exist before each statement."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from orchestrator.analysis.hits import Hit
from orchestrator.analysis.judge_alter_mysql import INSTANT, NO_COPY, SHARED, judge_clause, judge_index
from orchestrator.analysis.mysql_inner import HOLD_OTHERS, inner
from orchestrator.analysis.tables_mysql import Tables, asked_for, clauses_of, inside, name_at, shown, take_column
from orchestrator.engines.mysql.lexer import Token, split
from orchestrator.patterns import regex

_FIRST = regex(r"[A-Za-z]++(?![\w$])", re.ASCII)
_BODIES = frozenset({"procedure", "function", "trigger", "event", "package"})
_BEFORE_KIND = 12  # words: CREATE OR REPLACE DEFINER = `a`@`b` … TRIGGER


def judge_sql(tables: Tables, source: str) -> list[Hit]:
    """Return what there is to say of a statement, and take note of what it creates, renames and drops."""
    first = _FIRST.match(source)  # of thousands of INSERTs nothing more is asked
    if first and first[0].lower() not in _RULES and first[0].lower() not in HOLD_OTHERS:
        return []
    found = [token for piece in split(source)[:1] for token in piece.tokens]
    words = [token.text if token.kind == "word" else "" for token in found]
    if not words or (words[0] == "create" and _BODIES & {*words[:_BEFORE_KIND]}):
        return []
    statements = inner(found, words)
    if statements is None:
        return [
            Hit("MY701", found[0].start, "runs SQL that is put together while it runs, which nobody can judge before")
        ]
    hits: list[Hit] = []
    for statement in statements:
        part = [token for token in statement if token.kind != "semi"]
        text = [token.text if token.kind == "word" else "" for token in part]
        rule = _RULES.get(text[0]) if text else None
        hits += rule(tables, part, text) if rule else ()
    return hits


def _create(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    kind = next((word for word in words[1:6] if word in ("table", "index", "database", "schema", "view")), "")
    at = words.index(kind) + 1 if kind else 0
    if kind == "index":
        on = words.index("on") if "on" in words else -1
        if on >= 0:
            table, after = name_at(found, on + 1)
            yield from judge_index(tables, table, words[1], found[0].start, asked=asked_for(words[after:]))
        return
    if kind != "table":
        return
    unsure = words[at : at + 3] == ["if", "not", "exists"]
    at += 3 if unsure else 0
    table, at = name_at(found, at)
    known = table.lower() in tables.made
    if unsure and (known or not tables.complete):
        return  # it may be an old one
    if "replace" in words[1:3] and not tables.is_new(table) and (known or not tables.complete):
        yield Hit("MY101", found[0].start, f"drops table {shown(table)} and what is in it", table)
    if "temporary" not in words[1:4]:
        tables.forget(table)
        tables.made[table.lower()] = tables.number
        for clause in clauses_of(found, inside(found, at)):
            take_column(tables, table, clause)


def _drop(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    kind = next((word for word in words[1:3] if word in ("table", "tables", "database", "schema")), "")
    if not kind or "temporary" in words[1:2]:
        return
    at = words.index(kind) + 1
    at += 2 if words[at : at + 2] == ["if", "exists"] else 0
    while at < len(found):
        name, after = name_at(found, at)
        if kind in ("database", "schema"):
            yield Hit("MY105", found[at].start, f"drops database {shown(name)} and what is in it", name)
        elif not tables.is_new(name):
            yield Hit("MY101", found[at].start, f"drops table {shown(name)} and what is in it", name)
        tables.forget(name)
        at = after + 1
        if after >= len(found) or found[after].text != ",":
            return


def _truncate(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    table, _ = name_at(found, 2 if words[1:2] == ["table"] else 1)
    if not tables.is_new(table):
        yield Hit("MY103", found[0].start, f"empties {shown(table)}", table)


def _delete(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    if "from" not in words or {"limit", "join"} & {*words}:
        return
    table, after = name_at(found, words.index("from") + 1)
    if "where" in words and not _is_true(found[words.index("where") + 1 :]):
        return
    if "using" in words and [one.text for one in found[words.index("using") :]] != ["using", found[after - 1].text]:
        return
    if not tables.is_new(table):
        yield Hit("MY104", found[0].start, f"deletes every row of {shown(table)}", table)


def _is_true(condition: Sequence[Token]) -> bool:
    """Whether a condition holds for every row, by what it says: 1, TRUE, or 1 = 1."""
    texts = [one.text for one in condition]
    return texts in (["1"], ["true"]) or (len(texts) == 3 and texts[1] == "=" and texts[0] == texts[2] != "null")


def _update(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    at = next((at for at, word in enumerate(words) if at and word not in ("low_priority", "ignore")), 1)
    table, after = name_at(found, at)
    conditional = "where" in words and not _is_true(found[words.index("where") + 1 :])
    if conditional or {"limit", "join"} & {*words} or (after < len(found) and found[after].text == ","):
        return
    if not tables.is_new(table):
        yield Hit("MY601", found[0].start, f"rewrites every row of {shown(table)} in one transaction", table)


def _rename(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    if words[1:2] not in (["table"], ["tables"]):
        return
    at = 4 if words[2:4] == ["if", "exists"] else 2
    while at < len(found) and "to" in words[at:]:
        old, after = name_at(found, at)
        to = words.index("to", after)
        new, after = name_at(found, to + 1)
        if not tables.is_new(old):
            yield Hit("MY502", found[at].start, f"renames table {shown(old)}", old)
        tables.rename(old, new)
        at = after + 1


def _optimize(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    at = words.index("table") + 1 if "table" in words[:3] else len(found)
    if at < len(found):
        table, _ = name_at(found, at)
        if not tables.is_new(table):
            yield Hit("MY602", found[0].start, f"rebuilds {shown(table)}", table)


def _alter(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    if "table" not in words[1:4]:
        return
    at = words.index("table") + 1
    at += 2 if words[at : at + 2] == ["if", "exists"] else 0
    table, at = name_at(found, at)
    clauses = list(clauses_of(found, range(at, len(found))))
    new, needs, name = tables.is_new(table), INSTANT, table
    texts = [[one.text if one.kind == "word" else "" for one in clause] for clause in clauses]
    adds_key = any(text[:1] == ["add"] and "primary" in text for text in texts)
    asked = asked_for(words[at:])
    for clause, text in zip(clauses, texts, strict=True):
        judged = judge_clause(tables, name, clause, text, adds_key)
        needs = max(needs, judged.needs)
        if not new:
            yield from judged.hits
        if judged.renamed:
            tables.rename(name, judged.renamed)
            name = judged.renamed
    if new:
        return
    if asked in ("copy", "shared", "exclusive") and needs < SHARED:
        what = (
            f"rewrites {shown(table)} while nobody can write to it"
            if asked == "copy"
            else "lets nobody write meanwhile"
        )
        yield Hit("MY206", found[0].start, what, table)
    limit = {"instant": INSTANT, "none": NO_COPY, "inplace": SHARED, "nocopy": NO_COPY}.get(asked)
    if limit is not None and needs > limit:
        what = f"asks for {asked.upper()}, which the server refuses for this change"
        yield Hit("MY403", found[0].start, what, table)


_RULES: dict[str, Callable[[Tables, list[Token], list[str]], Iterator[Hit]]] = {
    "create": _create,
    "drop": _drop,
    "truncate": _truncate,
    "delete": _delete,
    "update": _update,
    "rename": _rename,
    "alter": _alter,
    "optimize": _optimize,
}
