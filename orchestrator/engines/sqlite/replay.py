"""What a run that goes on in the middle of a file sets again, and what it cannot have again."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.engines.sqlite.reader import TOKEN, split, temporary_table, word_of, words_of
from orchestrator.model import Statement


def to_replay(statements: Sequence[Statement]) -> tuple[list[str], str, int]:
    """Return what a file has SET above these statements, and a lost temporary table that they name with its line, '' if none."""
    settings = statements[0].settings if statements else ""
    sources = [settings[piece.start : piece.end] for piece in split(settings)]
    lost = {name for source in sources if (name := temporary_table(words_of(source)))}
    for statement in statements if lost else ():
        if made := temporary_table(words_of(statement.source)):
            lost.discard(made)
        for token in TOKEN.finditer(statement.source):
            if token.lastgroup in ("word", "text") and word_of(token) in lost:
                return [], word_of(token), statement.line
    return [source for source in sources if not temporary_table(words_of(source))], "", 0
