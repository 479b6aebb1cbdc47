"""Find broken lint rules in ALTER TABLE of MySQL and MariaDB, clause by clause, and in the creation of indexes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.analysis.columns_mysql import in_place, read_column
from orchestrator.analysis.hits import Hit
from orchestrator.analysis.tables_mysql import NO_COLUMN, Tables, columns_of, name_at, shown, take_column
from orchestrator.engines.mysql.lexer import Token, name_of
from orchestrator.records import dataclass, field

INSTANT, NO_COPY, SHARED, COPY = range(4)
"""What a clause of ALTER TABLE needs: nothing, work beside writers, work while nobody writes, a copy of the table."""


@dataclass
class Judged:
    """What one clause does: which work it needs, the rules that it breaks, the new name of the table."""

    needs: int = INSTANT
    hits: list[Hit] = field(default_factory=list)
    renamed: str = ""


def judge_clause(tables: Tables, table: str, clause: Sequence[Token], words: list[str], adds_key: bool) -> Judged:
    """Return what one clause of ALTER TABLE does. `adds_key`: another clause adds a primary key."""
    at, where = clause[0].start, shown(table)
    first, rest = words[0], words[1:]

    def one(code: str, what: str, needs: int = INSTANT, *, maybe: bool = False) -> Judged:
        return Judged(needs, [Hit(code, at, what, table, maybe=maybe)])

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
        new, _ = name_at(clause, 2 if rest[:1] in (["to"], ["as"]) else 1)
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
    return Judged()


def _adding(tables: Tables, table: str, clause: Sequence[Token], words: list[str]) -> Judged:
    at, where, rest = clause[0].start, shown(table), words[1:]
    kind = next((word for word in rest[:4] if word in NO_COLUMN), "")
    if rest[:1] == ["constraint"]:
        kind = next((word for word in rest[1:4] if word in NO_COLUMN), "")
    if rest[:1] == ["partition"]:
        return Judged(NO_COPY)
    if rest[:2] == ["system", "versioning"]:
        return Judged(COPY)
    if kind == "foreign":
        return Judged(COPY, [Hit("MY205", at, f"checks every row of {where} while nobody can write to it", table)])
    if kind == "check":
        return Judged(COPY, [Hit("MY206", at, f"checks every row of {where} while nobody can write to it", table)])
    if kind == "primary":
        return Judged(NO_COPY, [Hit("MY602", at, f"rebuilds {where}", table)])
    if kind and rest[0] in NO_COLUMN:
        hits = list(judge_index(tables, table, rest[0], at, asked=""))
        return Judged(SHARED if any(hit.code == "MY204" for hit in hits) else NO_COPY, hits)
    judged = Judged()
    for column in columns_of(clause, 2 if rest[:1] == ["column"] else 1):
        take_column(tables, table, column)
        judged = _added_column(table, column, at, judged)
    return judged


def _added_column(table: str, column: Sequence[Token], at: int, judged: Judged) -> Judged:
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


def _dropping(tables: Tables, table: str, clause: Sequence[Token], rest: list[str], adds_key: bool) -> Judged:
    """Return what one clause of ALTER TABLE does. `adds_key`: another clause adds a primary key."""
    at, where = clause[0].start, shown(table)
    if rest[:1] == ["partition"]:
        return Judged(INSTANT, [Hit("MY103", at, f"empties a partition of {where}", table)])
    if rest[:1] == ["primary"]:
        if adds_key:
            return Judged(NO_COPY)
        return Judged(COPY, [Hit("MY202", at, f"rewrites {where} while nobody can write to it", table)])
    if rest[:2] == ["system", "versioning"]:
        return Judged(SHARED, [Hit("MY102", at, f"drops the old versions of all rows of {where}", table)])
    if rest[:1] and rest[0] in NO_COLUMN and len(clause) > 2:
        return Judged()
    start = 2 if rest[:1] == ["column"] else 1
    start += 2 if rest[start - 1 : start + 1] == ["if", "exists"] else 0
    name = name_of(clause[start]) if start < len(clause) else "?"
    tables.columns.pop((table.lower(), name.lower()), None)
    return Judged(INSTANT, [Hit("MY102", at, f"drops column {where}.{shown(name)} and what is in it", table)])


def _changing(tables: Tables, table: str, clause: Sequence[Token], words: list[str]) -> Judged:
    at, where = clause[0].start, shown(table)
    start = 2 if words[1:2] == ["column"] else 1
    start += 2 if words[start : start + 2] == ["if", "exists"] else 0
    if start >= len(clause):
        return Judged()
    judged, old_name = Judged(), name_of(clause[start])
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


def judge_index(tables: Tables, table: str, kind: str, at: int, *, asked: str) -> Iterator[Hit]:
    """Yield the rules that a new index of this kind breaks; `asked` is what ALGORITHM or LOCK asks for."""
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
