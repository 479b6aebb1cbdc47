"""Which of some tables a statement writes to or changes, as far as its text tells."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from orchestrator.engines.mysql.lexer import Token, name_of, split
from orchestrator.engines.mysql.named import change_of
from orchestrator.engines.mysql.reader import tokens_of
from orchestrator.engines.mysql.settings import has_body

_INNER = frozenset({";", "begin", "then", "else", "do", "loop", "repeat"})
"""What stands before a statement in a body."""
_WITH_BODY = frozenset({"procedure", "function", "trigger", "event", "package"})
_CHANGING = frozenset({"alter", "drop", "rename", "truncate"})
_ADDING = frozenset({"insert", "replace", "load"})
_BEFORE_NAME = frozenset(
    {
        "from",
        "join",
        "update",
        "table",
        "tables",
        "into",
        "insert",
        "replace",
        "delete",
        "truncate",
        "exists",
        "to",
        "on",
    }
    | {"ignore", ",", "."}
)
_BEFORE_BODY = 12  # tokens: CREATE OR REPLACE DEFINER = `a`@`b` … TRIGGER


def written_table(source: str, tables: Collection[str]) -> Token | None:
    """Return the first token that names one of these tables where it is written to or changed; None if there is none.

    Names are compared in lower case. A table that is only read does not count. What a statement does by way of a routine,
    a trigger or a text that is prepared elsewhere cannot be seen here.
    """
    tokens = tokens_of(source)
    if not tokens or not _named(tokens, tables):
        return _in_prepared_text(tokens, tables)
    first = tokens[0].text
    if first == "create" and any(token.text in _WITH_BODY for token in tokens[:_BEFORE_BODY]):
        return _of_trigger(tokens, tables) or _in_body(tokens[1:], tables)
    if has_body(tokens):
        return _in_body(tokens[1:], tables)
    if first == "create" or first in _CHANGING:
        change = change_of(source)
        changed = {thing.name.lower() for thing in change.things} if change else set()
        return _named(tokens, {name for name in tables if name in changed})
    return _in_statement(tokens, tables) or _in_prepared_text(tokens, tables)


def writes_in_body(body: str, tables: Collection[str]) -> bool:
    """Whether the body of a routine writes to one of these tables, in a text that it prepares too."""
    return any(_in_body(piece.tokens, tables) for piece in split(body))


def _in_body(tokens: Sequence[Token], tables: Collection[str]) -> Token | None:
    for piece in _pieces(tokens):
        if found := _in_statement(piece, tables) or _in_prepared_text(piece, tables):
            return found
    return None


def _pieces(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    piece: list[Token] = []
    for token in tokens:
        if token.kind != "quoted" and token.text in _INNER:
            yield piece
            piece = []
        else:
            piece.append(token)
    yield piece


def _in_statement(tokens: Sequence[Token], tables: Collection[str]) -> Token | None:
    """Return what one statement without a body writes to."""
    if not tokens:
        return None
    first = tokens[0].text
    if first in _CHANGING:
        return _named(tokens, tables)
    if first in _ADDING:
        return _named(tokens[: _target_ends(tokens)], tables)
    if first in ("update", "delete", "with"):
        ends = next(
            (at for at, token in enumerate(tokens) if token.text == "set" and token.kind == "word"), len(tokens)
        )
        return _named(_outside_brackets(tokens[:ends] if first == "update" else tokens, first), tables)
    # A trigger or an event with one statement as its body, and no BEGIN before it.
    inner = (
        at for at, token in enumerate(tokens) if at and token.kind == "word" and token.text in ("insert", "delete")
    )
    return next((found for at in inner if (found := _in_statement(tokens[at:], tables))), None)


def _target_ends(tokens: Sequence[Token]) -> int:
    """Return where INSERT and LOAD are over with the name of their table."""
    into = next((at for at, token in enumerate(tokens[:12]) if token.text in ("into", "table")), 0)
    ends = into + 1
    while ends < len(tokens) and (
        tokens[ends].kind in ("word", "quoted") or _is_quoted(tokens[ends]) or tokens[ends].text == "."
    ):
        if tokens[ends].text in ("select", "values", "value", "set", "with", "partition", "fields", "lines"):
            break
        ends += 1
    return ends


def _outside_brackets(tokens: Sequence[Token], first: str) -> list[Token]:
    """Return the tokens that stand in no bracket; of a WITH nothing before its UPDATE or DELETE."""
    depth, kept, writes = 0, list[Token](), first != "with"
    for token in tokens:
        if token.text in "()" and token.kind == "other":
            depth += 1 if token.text == "(" else -1
        elif depth == 0:
            writes = writes or token.text in ("update", "delete")
            if writes:
                kept.append(token)
    return kept


def _of_trigger(tokens: Sequence[Token], tables: Collection[str]) -> Token | None:
    """Return the table to which a trigger is added."""
    if not any(token.text == "trigger" and token.kind == "word" for token in tokens[:_BEFORE_BODY]):
        return None
    for at, token in enumerate(tokens[:-1]):
        if token.text == "on" and token.kind == "word":
            ends = next((n for n in range(at, len(tokens)) if tokens[n].text == "for"), len(tokens))
            return _named(tokens[at + 1 : ends], tables)
    return None


def _in_prepared_text(tokens: Sequence[Token], tables: Collection[str]) -> Token | None:
    """Return the text of PREPARE or EXECUTE IMMEDIATE that writes to one of these tables."""
    words = [token.text for token in tokens[:3]]
    if words[:1] != ["prepare"] and words[:2] != ["execute", "immediate"]:
        return None
    for token in tokens:
        if token.kind == "text" and written_table(name_of(token), tables):
            return token
    return None


def _named(tokens: Sequence[Token], tables: Collection[str]) -> Token | None:
    for at, token in enumerate(tokens):
        is_name = _is_quoted(token) and (not at or tokens[at - 1].text in _BEFORE_NAME)
        if (is_name or token.kind in ("word", "quoted")) and name_of(token).lower() in tables:
            return token
    return None


def _is_quoted(token: Token) -> bool:
    """Whether it is a name where ANSI_QUOTES is on, and a text elsewhere."""
    return token.kind == "text" and token.text.startswith('"')
