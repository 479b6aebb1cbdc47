"""Statements within statements of MySQL and MariaDB: what WITH, ANALYZE, PREPARE, EXECUTE IMMEDIATE and blocks run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.engines.mysql.lexer import Token, name_of, tokens

HOLD_OTHERS = frozenset({"prepare", "execute", "begin", "with", "analyze", "explain", "desc", "describe"})
"""The first words of statements that may hold others."""
_BEGIN_STATEMENTS = frozenset({"begin", "then", "else", "do", "loop", "repeat", "atomic"})
_WRITES = frozenset({"delete", "update", "insert", "replace"})


def inner(found: Sequence[Token], words: Sequence[str]) -> list[list[Token]] | None:
    """Return the statements that run within this one, as their tokens; None if they are put together while it runs.

    A statement that holds no others is itself. `words` are its words in lower case, '' for what is no word.
    """
    first = words[0]
    if first in ("prepare", "execute") and {"from", "immediate"} & {*words[:3]}:
        return _prepared(found, words)
    if list(words[:3]) == ["begin", "not", "atomic"]:
        return list(_of_block(found, words))
    start = 0
    if first == "with":
        start = _behind_with(found, words)
    elif first == "analyze" and words[1:2] and words[1] in ("delete", "update"):
        start = 1
    elif list(words[:2]) in (["explain", "analyze"], ["desc", "analyze"], ["describe", "analyze"]):
        start = next((at for at in range(2, len(words)) if words[at] in _WRITES), 0)
    return [list(found[start:])]


def _prepared(found: Sequence[Token], words: Sequence[str]) -> list[list[Token]] | None:
    at = words.index("immediate") + 1 if "immediate" in words[:2] else words.index("from") + 1
    text = found[at] if at < len(found) else None
    if text is None or text.kind != "text":
        return None
    rest = words[at + 1 : at + 2]
    if rest and rest[0] not in ("using",):
        return None
    place = text.start
    return [[Token(one.kind, one.text, place, place) for one in tokens(name_of(text)) if one.kind != "semi"]]


def _of_block(found: Sequence[Token], words: Sequence[str]) -> Iterator[list[Token]]:
    """Yield what begins behind a semicolon, or a word that opens a block, each up to its semicolon."""
    start = -1
    for at, token in enumerate(found):
        if token.kind == "semi":
            if start >= 0:
                yield list(found[start:at])
            start = at + 1
        elif words[at] in _BEGIN_STATEMENTS:
            start = at + 1
    if 0 <= start < len(found):
        yield list(found[start:])


def _behind_with(found: Sequence[Token], words: Sequence[str]) -> int:
    depth = 0
    for at, token in enumerate(found):
        if token.kind == "other":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        if not depth and words[at] in _WRITES:
            return at
    return 0
