"""Find broken lint rules in statements of MySQL and MariaDB, given the tables that exist before each statement."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from orchestrator.analysis.columns_mysql import ColumnDefinition, in_place, read_column
from orchestrator.analysis.hits import Hit
from orchestrator.analysis.mysql_inner import inner
from orchestrator.engines.mysql.lexer import Token, name_of, tokens

_PLAIN = re.compile(r"[A-Za-z0-9_$.]+")
_NO_COLUMN = frozenset({"index", "key", "primary", "unique", "fulltext", "spatial", "constraint", "foreign", "check"})
_BODIES = frozenset({"procedure", "function", "trigger", "event", "package"})
_BEFORE_KIND = 12  # words: CREATE OR REPLACE DEFINER = `a`@`b` … TRIGGER
INSTANT, NO_COPY, SHARED, COPY = range(4)
"""What a clause of ALTER TABLE needs: nothing, work beside writers, work while nobody writes, a copy of the table."""


@dataclass
class Tables:
    """The tables that the files made so far: the number of its file, and its columns as far as they are told.

    `complete`: all files so far were read, so that what is not here is made elsewhere, or not at all.
    """

    number: int = -1
    pending_from: int = 0
    made: dict[str, int] = field(default_factory=dict)
    columns: dict[tuple[str, str], ColumnDefinition] = field(default_factory=dict)
    complete: bool = True

    def is_new(self, table: str) -> bool:
        """Whether the plan itself makes this table."""
        return self.made.get(table.lower(), -1) >= self.pending_from

    def forget(self, table: str) -> None:
        """Take note that a table is gone."""
        self.made.pop(table.lower(), None)
        for key in [key for key in self.columns if key[0] == table.lower()]:
            del self.columns[key]

    def rename(self, old: str, new: str) -> None:
        """Take note that a table has another name."""
        if old.lower() in self.made:
            self.made[new.lower()] = self.made.pop(old.lower())
        for key in [key for key in self.columns if key[0] == old.lower()]:
            self.columns[new.lower(), key[1]] = self.columns.pop(key)


def judge_sql(tables: Tables, source: str) -> list[Hit]:
    """Return what there is to say of a statement, and take note of what it creates, renames and drops."""
    found = list(tokens(source))
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


def shown(name: str) -> str:
    """Return a name as a message has it."""
    return name if _PLAIN.fullmatch(name) else f"`{name}`"


# ---------------------------------------------------------------- statements


def _create(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    kind = next((word for word in words[1:6] if word in ("table", "index", "database", "schema", "view")), "")
    at = words.index(kind) + 1 if kind else 0
    if kind == "index":
        on = words.index("on") if "on" in words else -1
        if on >= 0:
            table, after = _name(found, on + 1)
            yield from _index(tables, table, words[1], found[0].start, asked=_asked(words[after:]))
        return
    if kind != "table":
        return
    unsure = words[at : at + 3] == ["if", "not", "exists"]
    at += 3 if unsure else 0
    table, at = _name(found, at)
    known = table.lower() in tables.made
    if unsure and (known or not tables.complete):
        return  # it may be an old one
    if "replace" in words[1:3] and not tables.is_new(table) and (known or not tables.complete):
        yield Hit("MY101", found[0].start, f"drops table {shown(table)} and what is in it", table)
    if "temporary" not in words[1:4]:
        tables.forget(table)
        tables.made[table.lower()] = tables.number
        for clause in _clauses(found, _inside(found, at)):
            _take_column(tables, table, clause)


def _drop(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    kind = next((word for word in words[1:3] if word in ("table", "tables", "database", "schema")), "")
    if not kind or "temporary" in words[1:2]:
        return
    at = words.index(kind) + 1
    at += 2 if words[at : at + 2] == ["if", "exists"] else 0
    while at < len(found):
        name, after = _name(found, at)
        if kind in ("database", "schema"):
            yield Hit("MY105", found[at].start, f"drops database {shown(name)} and what is in it", name)
        elif not tables.is_new(name):
            yield Hit("MY101", found[at].start, f"drops table {shown(name)} and what is in it", name)
        tables.forget(name)
        at = after + 1
        if after >= len(found) or found[after].text != ",":
            return


def _truncate(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    table, _ = _name(found, 2 if words[1:2] == ["table"] else 1)
    if not tables.is_new(table):
        yield Hit("MY103", found[0].start, f"empties {shown(table)}", table)


def _delete(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    if "from" not in words or {"limit", "join"} & {*words}:
        return
    table, after = _name(found, words.index("from") + 1)
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
    table, after = _name(found, at)
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
        old, after = _name(found, at)
        to = words.index("to", after)
        new, after = _name(found, to + 1)
        if not tables.is_new(old):
            yield Hit("MY502", found[at].start, f"renames table {shown(old)}", old)
        tables.rename(old, new)
        at = after + 1


def _optimize(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    at = words.index("table") + 1 if "table" in words[:3] else len(found)
    if at < len(found):
        table, _ = _name(found, at)
        if not tables.is_new(table):
            yield Hit("MY602", found[0].start, f"rebuilds {shown(table)}", table)


def _alter(tables: Tables, found: list[Token], words: list[str]) -> Iterator[Hit]:
    if "table" not in words[1:4]:
        return
    at = words.index("table") + 1
    at += 2 if words[at : at + 2] == ["if", "exists"] else 0
    table, at = _name(found, at)
    clauses = list(_clauses(found, range(at, len(found))))
    new, needs, name = tables.is_new(table), INSTANT, table
    texts = [[one.text if one.kind == "word" else "" for one in clause] for clause in clauses]
    adds_key = any(text[:1] == ["add"] and "primary" in text for text in texts)
    asked = _asked(words[at:])
    for clause, text in zip(clauses, texts, strict=True):
        judged = _clause(tables, name, clause, text, adds_key)
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


# ---------------------------------------------------------------- clauses of ALTER TABLE


@dataclass
class _Judged:
    """What one clause does: which work it needs, the rules that it breaks, the new name of the table."""

    needs: int = INSTANT
    hits: list[Hit] = field(default_factory=list)
    renamed: str = ""


def _clause(tables: Tables, table: str, clause: Sequence[Token], words: list[str], adds_key: bool) -> _Judged:
    at, where = clause[0].start, shown(table)
    first, rest = words[0], words[1:]

    def one(code: str, what: str, needs: int = INSTANT, *, maybe: bool = False) -> _Judged:
        return _Judged(needs, [Hit(code, at, what, table, maybe=maybe)])

    if first == "add":
        return _adding(tables, table, clause, words)
    if first == "drop":
        return _dropping(tables, table, clause, rest, adds_key)
    if first in ("modify", "change"):
        return _changing(tables, table, clause, words)
    if first == "convert":
        return one("MY203", f"rewrites {where} in another character set while nobody can write to it", COPY)
    if first == "rename" and rest[:1] == ["column"]:
        return one("MY501", f"renames column {where}.{shown(name_of(clause[2]))}")
    if first == "rename" and rest[:1] not in (["index"], ["key"]):
        new, _ = _name(clause, 2 if rest[:1] in (["to"], ["as"]) else 1)
        judged = one("MY502", f"renames table {where}")
        judged.renamed = new
        return judged
    if first == "truncate" and rest[:1] == ["partition"]:
        return one("MY103", f"empties a partition of {where}")
    if first in ("partition", "reorganize", "coalesce", "exchange") or words[:2] == ["remove", "partitioning"]:
        return one("MY207", f"distributes the rows of {where} anew while nobody can write to it", COPY)
    if first in ("force", "row_format") or (first == "engine" and words[-1] == "innodb"):
        return one("MY602", f"rebuilds {where}", NO_COPY)
    if words[:2] == ["discard", "tablespace"] or (first == "engine" and words[-1] == "blackhole"):
        return one("MY103", f"empties {where}", COPY)
    if first == "engine" or words[:2] == ["order", "by"]:
        return one("MY206", f"rewrites {where} while nobody can write to it", COPY)
    return _Judged()


def _adding(tables: Tables, table: str, clause: Sequence[Token], words: list[str]) -> _Judged:
    at, where, rest = clause[0].start, shown(table), words[1:]
    kind = next((word for word in rest[:4] if word in _NO_COLUMN), "")
    if rest[:1] == ["constraint"]:
        kind = next((word for word in rest[1:4] if word in _NO_COLUMN), "")
    if rest[:1] == ["partition"]:
        return _Judged(NO_COPY)
    if kind == "foreign":
        return _Judged(COPY, [Hit("MY205", at, f"checks every row of {where} while nobody can write to it", table)])
    if kind == "check":
        return _Judged(COPY, [Hit("MY206", at, f"checks every row of {where} while nobody can write to it", table)])
    if kind == "primary":
        return _Judged(NO_COPY, [Hit("MY602", at, f"rebuilds {where}", table)])
    if kind and rest[0] in _NO_COLUMN:
        hits = list(_index(tables, table, rest[0], at, asked=""))
        return _Judged(SHARED if any(hit.code == "MY204" for hit in hits) else NO_COPY, hits)
    judged = _Judged()
    for column in _columns(clause, 2 if rest[:1] == ["column"] else 1):
        _take_column(tables, table, column)
        judged = _added_column(table, column, at, judged)
    return judged


def _added_column(table: str, column: Sequence[Token], at: int, judged: _Judged) -> _Judged:
    where, definition = shown(table), read_column(column)
    if definition.stored:
        judged.needs = COPY
        judged.hits.append(
            Hit("MY206", at, f"computes a column of every row of {where} while nobody can write to it", table)
        )
    elif definition.counts:
        judged.needs = max(judged.needs, SHARED)
        judged.hits.append(Hit("MY204", at, f"numbers the rows of {where} while nobody can write to it", table))
    elif definition.must_be_given:
        what = f"adds {where}.{shown(definition.name)}, which programs that do not know it cannot fill"
        judged.hits.append(Hit("MY503", at, what, table))
    return judged


def _dropping(tables: Tables, table: str, clause: Sequence[Token], rest: list[str], adds_key: bool) -> _Judged:
    at, where = clause[0].start, shown(table)
    if rest[:1] == ["partition"]:
        return _Judged(INSTANT, [Hit("MY103", at, f"empties a partition of {where}", table)])
    if rest[:1] == ["primary"]:
        if adds_key:
            return _Judged(NO_COPY)
        return _Judged(COPY, [Hit("MY202", at, f"rewrites {where} while nobody can write to it", table)])
    if rest[:1] and rest[0] in _NO_COLUMN and len(clause) > 2:
        return _Judged()
    start = 2 if rest[:1] == ["column"] else 1
    start += 2 if rest[start - 1 : start + 1] == ["if", "exists"] else 0
    name = name_of(clause[start]) if start < len(clause) else "?"
    tables.columns.pop((table.lower(), name.lower()), None)
    return _Judged(INSTANT, [Hit("MY102", at, f"drops column {where}.{shown(name)} and what is in it", table)])


def _changing(tables: Tables, table: str, clause: Sequence[Token], words: list[str]) -> _Judged:
    at, where = clause[0].start, shown(table)
    start = 2 if words[1:2] == ["column"] else 1
    start += 2 if words[start : start + 2] == ["if", "exists"] else 0
    if start >= len(clause):
        return _Judged()
    judged, old_name = _Judged(), name_of(clause[start])
    column = clause[start + 1 :] if words[0] == "change" else clause[start:]
    now = read_column(column)
    before = tables.columns.pop((table.lower(), old_name.lower()), None)
    if words[0] == "change" and now.name.lower() != old_name.lower():
        judged.hits.append(Hit("MY501", at, f"renames column {where}.{shown(old_name)}", table))
    if not in_place(before, now):
        what = f"rewrites {where} for another type of {shown(now.name)} while nobody can write to it"
        judged.hits.append(Hit("MY201", at, what, table, maybe=before is None))
        judged.needs = COPY if before is not None else INSTANT
    elif before is not None and before.not_null != now.not_null:
        judged.hits.append(Hit("MY602", at, f"rebuilds {where}", table))
        judged.needs = NO_COPY
    if now.not_null and not (before and before.not_null):
        what = f"fails if {where}.{shown(now.name)} is NULL anywhere"
        judged.hits.append(Hit("MY402", at, what, table, maybe=True))
    tables.columns[table.lower(), now.name.lower()] = now
    return judged


def _index(tables: Tables, table: str, kind: str, at: int, *, asked: str) -> Iterator[Hit]:
    if tables.is_new(table):
        return
    if kind in ("fulltext", "spatial"):
        yield Hit("MY204", at, f"reads {shown(table)} for a {kind.upper()} index while nobody can write to it", table)
        if asked in ("none", "instant", "nocopy"):
            yield Hit("MY403", at, f"asks for {asked.upper()}, which the server refuses for this change", table)
    elif asked in ("copy", "shared", "exclusive"):
        yield Hit("MY206", at, f"builds an index of {shown(table)} while nobody can write to it", table)
    if kind == "unique":
        yield Hit("MY401", at, "builds a unique index, which fails if two rows are alike", table, maybe=True)


# ---------------------------------------------------------------- reading


def _name(found: Sequence[Token], at: int) -> tuple[str, int]:
    """Return the name that stands here, and where it ends."""
    if at >= len(found):
        return "?", at
    if at + 2 < len(found) and found[at + 1].text == ".":
        return f"{name_of(found[at])}.{name_of(found[at + 2])}", at + 3
    return name_of(found[at]), at + 1


def _inside(found: Sequence[Token], at: int) -> range:
    """Return what stands in the bracket that begins here."""
    if at >= len(found) or found[at].text != "(":
        return range(at, at)
    depth = 0
    for end in range(at, len(found)):
        depth += {"(": 1, ")": -1}.get(found[end].text, 0) if found[end].kind == "other" else 0
        if depth == 0:
            return range(at + 1, end)
    return range(at + 1, len(found))


def _clauses(found: Sequence[Token], part: range) -> Iterator[list[Token]]:
    """Yield what stands between commas that are in no bracket."""
    clause: list[Token] = []
    depth = 0
    for token in (found[at] for at in part):
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "other" else 0
        if token.text == "," and token.kind == "other" and depth == 0:
            if clause:
                yield clause
            clause = []
        else:
            clause.append(token)
    if clause:
        yield clause


def _columns(clause: Sequence[Token], at: int) -> Iterator[list[Token]]:
    """Yield the columns of ADD COLUMN a int, and of ADD (a int, b int)."""
    words = [token.text for token in clause]
    at += 3 if words[at : at + 3] == ["if", "not", "exists"] else 0
    if at < len(clause) and clause[at].text == "(":
        yield from _clauses(clause, _inside(clause, at))
    elif at < len(clause):
        yield list(clause[at:])


def _take_column(tables: Tables, table: str, clause: Sequence[Token]) -> None:
    if clause and not (clause[0].kind == "word" and clause[0].text in _NO_COLUMN):
        column = read_column(clause)
        tables.columns[table.lower(), column.name.lower()] = column


def _asked(words: Sequence[str]) -> str:
    """Return what ALGORITHM or LOCK asks for; of both the stricter one."""
    found = []
    for at, word in enumerate(words):
        if word in ("algorithm", "lock"):
            found.append(next((one for one in words[at + 1 : at + 3] if one), ""))
    order = ("instant", "none", "nocopy", "copy", "exclusive", "shared", "inplace")
    return next((one for one in order if one in found), "")
