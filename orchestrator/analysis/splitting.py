"""Cut a PostgreSQL file so that each CONCURRENTLY stands in a file of its own, where that keeps what the files mean. Pure.

ValueError says why a file is left as it is: its pieces would mean something else, or that is not certain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from orchestrator.analysis.facts import Fact
from orchestrator.analysis.statements import read_statement
from orchestrator.engines.postgres.sql_reader import Reader
from orchestrator.model import Script, Statement

_CARRIES = re.compile(
    r"(?:SET|RESET|BEGIN|START|COMMIT|END|ROLLBACK|SAVEPOINT|DISCARD|PREPARE|DECLARE|LOCK|DO)\b"
    r"|CREATE\s+(?:(?:LOCAL|GLOBAL)\s+)?TEMP|.*\bset_config\b",
    re.IGNORECASE | re.DOTALL,
)
_END = re.compile(r"\s*;[ \t]*(?:--[^\n]*)?(?:\r?\n|\Z)")
_INVERSE = {"create index": "drop index", "drop index": "create index"}


class Piece(NamedTuple):
    """One of the files that take the place of one: what its name ends with, its up text, its down text if it has one."""

    ending: str
    up: str
    down: str | None


def split(up: Script, down: Script | None) -> list[Piece]:
    """Return the pieces of a migration, in the order in which they go up; together they do what it did, up and down."""
    for script in filter(None, (up, down)):
        if "orch:" in script.text:
            raise ValueError("it has a directive, which may be about all of its statements")
        if any(one.block or _CARRIES.match(one.source) for one in script.statements):
            raise ValueError("a statement changes the session or the transaction for those after it")
    alone = [_concurrent(one) for one in up.statements]
    if any(not one.atomic and fact is None for one, fact in zip(up.statements, alone, strict=True)):
        raise ValueError("it has another statement that cannot be in a transaction")
    groups = _groups(alone)
    texts = _cut(up, [group[0] for group in groups])
    facts = [alone[group[0]] for group in groups]
    downs = _downs(facts, down) if down is not None else [None] * len(groups)
    return [
        Piece("" if number == 0 else _ending(fact, number), text, below)
        for number, (text, fact, below) in enumerate(zip(texts, facts, downs, strict=True))
    ]


def _concurrent(statement: Statement) -> Fact | None:
    """Return what a CREATE INDEX, DROP INDEX or REINDEX with CONCURRENTLY does; None for other statements."""
    facts = read_statement(statement.source)
    known = [fact for fact in facts if fact.what in ("create index", "drop index", "reindex")]
    return known[0] if len(facts) == len(known) == 1 and "concurrently" in known[0].flags else None


def _groups(alone: Sequence[Fact | None]) -> list[list[int]]:
    groups: list[list[int]] = []
    for number, fact in enumerate(alone):
        if groups and fact is None and alone[number - 1] is None:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups


def _cut(script: Script, firsts: Sequence[int]) -> list[str]:
    """Return the text of a file in pieces, each from one of these statements on with the comments above it."""
    text, bounds = script.text, [0]
    for first in firsts[1:]:
        before = script.statements[first - 1]
        end = _END.match(text, before.offset + len(before.source))
        if end is None:
            raise ValueError(f"its statements {first} and {first + 1} stand on one line")
        bounds.append(end.end())
    pieces = [text[start:end].strip("\r\n") + "\n" for start, end in pairwise([*bounds, len(text)])]
    read = [piece[start:end] for piece in pieces for start, end in Reader("", piece).statements()]
    if read != [statement.source for statement in script.statements]:
        raise ValueError("its pieces would be read otherwise")
    return pieces


def _downs(facts: Sequence[Fact | None], down: Script) -> list[str | None]:
    """Share the down file out: what undoes a piece by the name of its index belongs to it, the rest to the only other one."""
    left = list(down.statements)
    found: list[str | None] = [""] * len(facts)
    for number, fact in enumerate(facts):
        if fact is None:
            continue
        undoing = [one for one in left if _undoes(one, fact)]
        if len(undoing) != 1:
            raise ValueError(
                f"its down file does not undo {_index(fact) or 'an index without a name'} by a statement of its own"
            )
        left.remove(undoing[0])
        found[number] = undoing[0].source + ";\n"
    rest = [number for number, fact in enumerate(facts) if fact is None]
    if len(rest) > 1 or (left and not rest):
        raise ValueError("its down file cannot be shared out among the pieces")
    if rest:
        found[rest[0]] = "".join(one.source + ";\n" for one in left)
    return found


def _undoes(statement: Statement, fact: Fact) -> bool:
    facts = read_statement(statement.source)
    return len(facts) == 1 and facts[0].what == _INVERSE.get(fact.what) and _index(facts[0]) == _index(fact) != ""


def _index(fact: Fact) -> str:
    """Return the name of the only index that a statement makes or drops."""
    if fact.what == "drop index":
        return fact.others[0] if len(fact.others) == 1 else ""
    return fact.name


def _ending(fact: Fact | None, number: int) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", (_index(fact) if fact else "").lower()).strip("_")
    return f"_{name or number + 1}"
