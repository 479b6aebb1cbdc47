"""Spell a text of SQL as rules read it: words in lower case with one space between them, names in double quotes, texts as
`''`, no comments. Each word is known by its place in the file.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, replace

# Nothing is tried twice (`*+`, `(?>…)`), so that time is linear.
_PLAIN = r"'(?>(?:[^']++|'')*)'"
_ESCAPED = r"'(?>(?:[^'\\]++|''|\\.)*)'"
_LETTER = r"[^\0-@\[-\^`{-\x7f]"  # A-Z a-z _ and all beyond ASCII
# White space and digits are ASCII: any character beyond it belongs to a name. A text goes on behind a line break.
_GOES_ON = r"(?>(?:[ \t\f\v]++|--[^\n\r]*+)*)[\n\r](?>(?:[ \t\n\r\f\v]++|--[^\n\r]*+[\n\r])*)"
_TOKEN = re.compile(
    rf"""(?P<blank>\s+|--[^\n\r]*)
    |(?P<comment>/\*)
    |(?P<text>[eE]{_ESCAPED}(?>(?:{_GOES_ON}{_ESCAPED})*)|(?:[bBxXnN]|[uU]&)?{_PLAIN}(?>(?:{_GOES_ON}{_PLAIN})*))
    |(?P<name>(?:[uU]&)?"(?:[^"]|"")*")
    |(?P<dollar>\$(?:{_LETTER}(?:{_LETTER}|\d)*)?\$)
    |(?P<word>{_LETTER}(?:{_LETTER}|[\d$])*)
    |(?P<other>\d+|.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ESCAPE = re.compile(r"\\(?:\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4}))")
_PARTS = re.compile(rf"{_GOES_ON}'")
_BACKSLASH = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|(.))|''", re.DOTALL)
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_UPPER = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}  # all that PostgreSQL folds in UTF-8


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
            texts.append((length, offset + position + opening, _text(match[0])))
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
            name = _ESCAPE.sub(_named, name)
        return '"' + re.sub(r'[\s;"]', "_", name) + '"'
    return token.translate(_UPPER)


def _text(token: str) -> str:
    """Return what a literal says: without its quotes, its escapes read, its parts on several lines as one."""
    opening, _, rest = token.partition("'")
    inside = rest[:-1]
    escaped = opening in ("e", "E")
    if "\n" in inside or "\r" in inside:
        part = re.compile(_ESCAPED if escaped else _PLAIN, re.DOTALL)
        inside, at = "", len(opening)
        while found := part.match(token, at):
            inside += found[0][1:-1]
            at = following.end() - 1 if (following := _PARTS.match(token, found.end())) else len(token)
    if escaped:
        return _BACKSLASH.sub(_read, inside)
    inside = inside.replace("''", "'")
    return _ESCAPE.sub(_named, inside) if opening.endswith("&") else inside


def _read(escape: re.Match[str]) -> str:
    if escape[0] == "''":
        return "'"
    if code := escape[1] or escape[2] or escape[3]:
        return chr(int(code, 16) % 0x110000)
    return chr(int(escape[4], 8)) if escape[4] else _CONTROLS.get(escape[5], escape[5])


def _named(escape: re.Match[str]) -> str:
    return chr(int(escape[1] or escape[2], 16) % 0x110000)


def _after_comment(source: str, position: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(source, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(source)
