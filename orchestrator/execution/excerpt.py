"""The line of a migration file at which a statement failed, with its secrets hidden."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.phrases import width

EXCERPT = 100  # characters of a line
_AROUND = 64 * 1024  # characters on both sides in which secrets are looked for


def excerpt(text: str, offset: int, spans: Callable[[str], Sequence[tuple[int, int]]]) -> str:
    """Return the line of a text at an offset (characters from 0), and below it a caret at that place.

    `spans` tells where the secrets of a text are: they are hidden before the line is cut out, so that no part of one stays.
    Of a long line, such as a file of JSON may be, only what is around the place.
    """
    first = max(0, offset - _AROUND)
    text, at = text[first : offset + _AROUND], offset - first
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    parts, done, caret = [], start, -1
    for left, right in spans(text):
        left, right = max(left, start), min(right, end)
        if left < right:
            parts += [text[done:left], "***"]
            if done <= at < right and caret < 0:  # before the secret, or in it: then the caret is at its beginning
                caret = sum(map(len, parts)) - 3 - max(0, left - at)
            done = right
    caret = sum(map(len, parts)) + at - done if caret < 0 else caret
    line = "".join([*parts, text[done:end]]).rstrip("\r")
    if len(line) > EXCERPT:
        begin = max(0, min(caret - EXCERPT // 2, len(line) - EXCERPT))
        before, after = "…" * (begin > 0), "…" * (begin + EXCERPT < len(line))
        line, caret = before + line[begin : begin + EXCERPT] + after, caret - begin + len(before)
    blanks = "".join(character if character == "\t" else " " * width(character) for character in line[:caret])
    return f"{line}\n{blanks}^"
