"""Spell a text of SQL as rules read it: words in lower case with one space between them, names in double quotes, texts as
`''`, no comments. Each word is known by its place in the file.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, replace

_TOKEN = re.compile(
    r"""(?P<blank>\s+|--[^\n\r]*)
    |(?P<comment>/\*)
    |(?P<text>[eE]'(?:[^'\\]|''|\\.)*'|(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*')
    |(?P<name>(?:[uU]&)?"(?:[^"]|"")*")
    |(?P<dollar>\$(?:[^\W\d]\w*)?\$)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<other>\d+|.)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ESCAPE = re.compile(r"\\(?:\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4}))")


@dataclass(frozen=True, slots=True)
class Spelled:
    """A text as the rules read it; `at` and `offsets` tell for each of its words where that is in the file.

    `texts` are those that it holds: before which of its positions, where in the file, and what.
    """

    text: str
    at: list[int]
    offsets: list[int]
    texts: list[tuple[int, int, str]]

    def offset(self, position: int) -> int:
        """Return the place in the file of a position in the spelled text."""
        return self.offsets[max(0, bisect_right(self.at, position) - 1)] if self.offsets else 0

    def all_at(self, offset: int) -> Spelled:
        """Return a text that stands nowhere in the file as if all of it were at this place."""
        return replace(self, offsets=[offset] * len(self.offsets))


def spell(source: str, offset: int) -> Spelled:
    """Spell a text whose first character is at `offset` of its file."""
    pieces: list[str] = []
    at: list[int] = []
    offsets: list[int] = []
    texts: list[tuple[int, int, str]] = []
    length = position = 0
    while match := _TOKEN.match(source, position):
        kind, end = match.lastgroup, match.end()
        if kind == "comment":
            end = _after_comment(source, position)
        if kind == "dollar":
            close = source.find(match[0], end)
            inside = source[end : close if close >= 0 else len(source)]
            texts.append((length, offset + end, inside))
            end = close + len(match[0]) if close >= 0 else len(source)
        elif kind == "text":
            opening = match[0].index("'") + 1
            texts.append((length, offset + position + opening, match[0][opening:-1].replace("''", "'")))
        if kind not in ("blank", "comment"):
            word = _piece(kind or "", match[0])
            at.append(length)
            offsets.append(offset + position)
            pieces.append(word)
            length += len(word) + 1
        position = end
    return Spelled(" ".join(pieces) + " ", at, offsets, texts)


def _piece(kind: str, token: str) -> str:
    if kind in ("text", "dollar"):
        return "''"
    if kind == "name":
        name = token[token.index('"') + 1 : -1].replace('""', "_")
        if token[0] in "uU":
            name = _ESCAPE.sub(lambda escape: chr(int(escape[1] or escape[2], 16) % 0x110000), name)
        return '"' + re.sub(r'[\s;"]', "_", name) + '"'
    return token.lower() if token.isascii() else token


def _after_comment(source: str, position: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(source, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(source)
