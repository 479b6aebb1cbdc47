"""Split one SQL statement into words with their positions, and read them with a cursor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from orchestrator.engines.postgres.sql_reader import NAME, WORD, Reader
from orchestrator.errors import InvalidError

_BLANKS = r"(?>(?:[ \t\n\r\f\v]++|--[^\n\r]*+)*)"
_BLANK = re.compile(_BLANKS)
_TOKEN = re.compile(
    rf"{_BLANKS}(?:"
    r"(?P<string>[Ee]'(?>(?:[^'\\]++|''|\\.)*)'|'(?>(?:[^']++|'')*)'"
    r"|\$(?P<tag>(?:[^\0-@\[-\^`{-\x7f][^\0-/:-@\[-\^`{-\x7f]*+)?)\$.*?\$(?P=tag)\$)"
    rf"|(?P<name>{NAME}|`[^`]*+`)|(?P<word>{WORD})|(?P<other>[0-9]++(?:\.[0-9]++)?|.|\Z))",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^\W\dA-Z]\w*", re.ASCII)
_FOREIGN = re.compile(WORD)
STRING = "''"
"""How the text of a literal stands among the words; `Words.literal` returns it."""


class Words:
    """The words of a statement, in upper case, and a place in them.

    A quoted name keeps its quotes, so that it never equals a keyword; a literal is `''`. The end reads as empty words.
    `limit`: only so many words, 0 for all.
    """

    def __init__(self, source: str, start: int = 0, *, keeps_public: bool = False, limit: int = 0) -> None:
        self.source = source
        self.keeps_public = keeps_public
        self.words: list[str] = []
        self.ats: list[int] = []
        self.i = 0
        text = _without_block_comments(source) if "/*" in source else source
        words = self.words
        add, place = words.append, self.ats.append
        for found in _TOKEN.finditer(text, start):
            kind = found.lastgroup or "other"
            word = found[kind]
            if kind == "word":
                if word.isascii():
                    word = word.upper()
            elif kind == "string":
                word = STRING
            elif not word:
                break
            add(word)
            place(found.start(kind))
            if limit and len(words) == limit:
                break
        self.size = len(words)

    def peek(self, ahead: int = 0) -> str:
        """Return the word at the cursor or behind it; '' beyond the end."""
        i = self.i + ahead
        return self.words[i] if i < self.size else ""

    @property
    def at(self) -> int:
        """The offset of the word at the cursor in the source."""
        return self.ats[self.i] if self.i < self.size else len(self.source)

    @property
    def done(self) -> bool:
        """Whether all words are read."""
        return self.i >= self.size

    def take(self, *words: str) -> bool:
        """Pass over these words if they stand at the cursor."""
        i, known = self.i, self.words
        if i >= len(known) or known[i] != words[0] or (len(words) > 1 and tuple(known[i : i + len(words)]) != words):
            return False
        self.i = i + len(words)
        return True

    def take_one(self, *words: str) -> str:
        """Pass over one of these words and return it; '' if none of them stands here."""
        word = self.peek()
        if word and word in words:
            self.i += 1
            return word
        return ""

    def any_of(self, *words: str) -> bool:
        """Whether one of these words stands at the cursor."""
        return self.peek() in words

    def name(self) -> str:
        """Read a name, perhaps with a schema, as `plain` or `"As Written"`; `public.` is left out unless it is kept."""
        parts = []
        while not self.done:
            word = self.words[self.i]
            parts.append(identifier(word if word != STRING else f'"{self.literal(self.i)}"'))  # a text in SQLite
            self.i += 1
            if self.peek() != "." or not parts[-1]:
                break
            self.i += 1
        if len(parts) > 1 and parts[0] == "public" and not self.keeps_public:
            parts = parts[1:]
        return ".".join(parts)

    def names(self) -> list[str]:
        """Read names with commas between them; what follows a name up to the comma, such as arguments, is passed over."""
        found = []
        while not self.done and self.peek() not in ("CASCADE", "RESTRICT", "CONTINUE", "RESTART"):
            self.take("ONLY")
            found.append(self.name())
            self.take("*")
            if self.peek() == "(":
                self.group()
            if not self.take(","):
                break
        return found

    def group(self) -> tuple[int, int]:
        """Pass over a bracket; return the bounds of the words within it."""
        start = self.i + 1
        depth = 0
        while self.i < self.size:
            word = self.words[self.i]
            self.i += 1
            if word == "(":
                depth += 1
            elif word == ")":
                depth -= 1
                if not depth:
                    return start, self.i - 1
        return start, self.size

    def parts(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the bounds of what stands between commas at the top level of these words."""
        depth, first = 0, start
        for i in range(start, end):
            word = self.words[i]
            if word in ("(", "["):
                depth += 1
            elif word in (")", "]"):
                depth -= 1
            elif word == "," and not depth:
                yield first, i
                first = i + 1
        if first < end:
            yield first, end

    def within(self, start: int, end: int) -> Words:
        """Return a cursor over these words alone."""
        inner = object.__new__(Words)
        inner.source, inner.words, inner.ats, inner.i = self.source, self.words, self.ats, start
        inner.keeps_public = self.keeps_public
        inner.size = end
        return inner

    def rest(self) -> list[str]:
        """Return the words from the cursor to the end."""
        return self.words[self.i : self.size]

    def literal(self, i: int) -> str:
        """Return the text of the literal that is the word of this number."""
        at = self.ats[i]
        end = self.ats[i + 1] if i + 1 < len(self.ats) else len(self.source)
        found = _TOKEN.match(self.source, at)
        text = found[found.lastgroup or 0] if found else self.source[at:end]
        if text[:1] in "Ee":
            text = text[1:]
        if text.startswith("$"):
            tag = text[: text.index("$", 1) + 1]
            return text[len(tag) : -len(tag)]
        return text[1:-1].replace("''", "'")


def identifier(word: str) -> str:
    """Return a name as PostgreSQL folds it; quoted only where it must be. MySQL quotes names by `."""
    if len(word) > 2 and word[0] == "`":
        word = f'"{word[1:-1]}"'
    if not word.startswith('"'):
        return word.lower() if word.isascii() else "".join(c.lower() if c.isascii() else c for c in word)
    inner = word[1:-1].replace('""', '"')
    plain = _PLAIN.fullmatch(inner) or (not inner.isascii() and _FOREIGN.fullmatch(inner) and not _has_upper(inner))
    return inner if plain else word


def calls(words: list[str]) -> list[str]:
    """Return the names of the functions that an expression calls."""
    return [
        identifier(word)
        for word, after in pairwise(words)
        if after == "(" and (word[0].isalpha() or word[0] in '_"' or not word.isascii())
    ]


def _has_upper(text: str) -> bool:
    return any("A" <= char <= "Z" for char in text)


def _without_block_comments(source: str) -> str:
    """Return the source with blanks for block comments; every other character stays in its place."""
    reader, pieces, at, kept = Reader("", source), [], 0, 0
    while at < len(source):
        if blank := _BLANK.match(source, at):
            at = blank.end()
        if source.startswith("/*", at):
            try:
                end = reader.after_comment(at)
            except InvalidError:  # of MySQL, whose comments do not nest
                closed = source.find("*/", at)
                end = closed + 2 if closed >= 0 else len(source)
            pieces += [source[kept:at], " " * (end - at)]
            at = kept = end
        elif found := _TOKEN.match(source, at):
            at = found.end()
    return "".join([*pieces, source[kept:]])
