"""Cut an SQL text at its top-level semicolons, and spell its statements, by the rules of PostgreSQL's own scanner."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from orchestrator.errors import InvalidError
from orchestrator.model import Mark
from orchestrator.patterns import regex
from orchestrator.records import dataclass

# Every repetition is possessive (`*+`), or for a group atomic (`(?>(?:…)*)`, the same: `(?:…)*+` goes astray before
# Python 3.11.5, gh-106052), so nothing is tried twice and time is linear. White space is ASCII only: any
# character beyond ASCII, even a no-break space, belongs to an identifier.

_SPACE = " \t\n\r\f\v"
# Said by what they are not: naming the million characters beyond ASCII would take 60 ms to compile at every start.
_LETTER = r"[^\0-@\[-\^`{-\x7f]"  # A-Z a-z _
_LETTER_OR_DIGIT = r"[^\0-/:-@\[-\^`{-\x7f]"  # and 0-9
_IN_WORD = r"[^\0-#%-/:-@\[-\^`{-\x7f]"  # and $
WORD = rf"{_LETTER}{_IN_WORD}*+"
_STRING = r"'(?>(?:[^']++|'')*)'"
NAME = r'"(?>(?:[^"]++|"")*)"'
_ESCAPED = r"'(?>(?:[^'\\]++|''|\\.)*)'"
# An E'…' literal may go on behind a line break, and what follows still knows escapes.
_BREAK = r"(?>(?:[ \t\f\v]++|--[^\n\r]*+)*)[\n\r](?>(?:[ \t\n\r\f\v]++|--[^\n\r]*+[\n\r])*)"
E_STRING = rf"[Ee]{_ESCAPED}(?>(?:{_BREAK}{_ESCAPED})*)"
_OTHER = r"[\0-!#%&*+,.0-:<-@\[\]^`{-\x7f]++|/(?!\*)|-(?!-)|\$[0-9]++"  # no letter, and none of '"$;()\/-


def _run(word: str) -> re.Pattern[str]:
    """Compile what is passed over in one go: everything up to a `;`, bracket, comment, `$tag$` or fault."""
    plain = rf"{_OTHER}|(?![Ee]'){word}|{_STRING}|{NAME}|{E_STRING}"
    return re.compile(rf"(?>(?:{plain}|\((?>(?:{plain})*)\))*)", re.DOTALL)


_PLAIN = _run(WORD)
_ROUTINE = _run(rf"(?!(?ai:begin|end)(?!{_IN_WORD})){WORD}")
_BLANK = regex(r"(?>(?:[ \t\n\r\f\v]++|--[^\n\r]*+)*)")
_SPACE_OR_LINE = regex(r"[ \t\n\r\f\v]*+(?P<line>--[^\n\r]*+)?")
_COMMENT_EDGE = regex(r"/\*|\*/")
_DOLLAR = regex(rf"\$(?:{_LETTER}{_LETTER_OR_DIGIT}*+)?\$")
_SWITCH = regex(r"'(?:true|false|on|off|0|1)'", re.IGNORECASE)
# What is certainly no function with a body of its own: it is plain up to its semicolon, as most statements are.
_NO_ROUTINE = regex(
    r"C(?!REATE)|CREATE\s+(?:UNIQUE\s+|OR\s+REPLACE\s+)?(?:TABLE|INDEX|VIEW|TRIGGER|TYPE|SCHEMA|EXTENSION|MATERIALIZED|DOMAIN|SEQUENCE)\b",
    re.IGNORECASE,
)
_CREATE_ROUTINE = regex(r"CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE) ")
_TOKEN = regex(rf"(?P<string>{E_STRING}|{_STRING})|(?P<name>{NAME})|{WORD}|[0-9]++|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reader:
    """Cuts one text. What is named `after_…` takes a position in the text and returns a later one."""

    path: str
    text: str

    def error(self, what: str, at: int, hint: str, detail: str = "") -> InvalidError:
        """Return an error that names the place."""
        return InvalidError(what, where=Mark.at(self.path, self.text, at), hint=hint, detail=detail)

    def first(self) -> int:
        """Return where the first statement begins."""
        return self.after_blank(1 if self.text.startswith("\ufeff") else 0)

    def statements(self, at: int | None = None) -> Iterator[tuple[int, int]]:
        """Yield the bounds of each statement, from its first token to its last, without the semicolon.

        `at` is where a statement begins, if not the first.
        """
        text, at = self.text, self.first() if at is None else at
        size = len(text)
        while at < size:
            semicolon, char = at, text[at]
            plain = char not in ";cC" or (char != ";" and _NO_ROUTINE.match(text, at) is not None)
            if plain:  # most of the statements of a large file are plain up to their semicolon
                found = _PLAIN.match(text, at)
                semicolon = found.end() if found else at
            if text[semicolon : semicolon + 1] != ";" or not (plain or char == ";"):
                end, semicolon = self.end(at)
                yield at, end
            elif semicolon > at:
                yield at, at + len(text[at:semicolon].rstrip(_SPACE))
            at = self.after_blank(semicolon + 1)

    def end(self, start: int) -> tuple[int, int]:
        """Return where the statement's last token ends, and where its semicolon is (or the file's end)."""
        text = self.text
        run = _ROUTINE if text[start] in "cC" and _CREATE_ROUTINE.match(self.words(start, 5)) else _PLAIN
        brackets: list[int] = []
        # In a CREATE FUNCTION … BEGIN ATOMIC a; b; END: where the body began, and where its latest statement did. Only
        # an END that stands there closes the body: that of a CASE never does, nor a column called "end".
        body = inner = -1
        at = end = start
        while True:
            if found := run.match(text, at):
                end = found.end() if found.end() > at else end
                at = found.end()
            char = text[at : at + 1]
            if not char or (char == ";" and not brackets and body < 0):
                break
            if text.startswith(("--", "/*"), at):
                at = self.after_blank(at)
                continue
            next_at = at + 1
            if char == "$":
                next_at = self.after_dollar(at)
            elif char == "(":
                brackets.append(at)
            elif char == ")" and brackets:
                brackets.pop()
            elif char == ";":
                inner = self.after_blank(next_at)
            elif char in "bB":
                next_at = at + 5
                if body < 0 and not brackets and self.words(at, 2) == "BEGIN ATOMIC ":
                    body = at
                    next_at = inner = self.after_blank(self.after_blank(next_at) + 6)
            elif char in "eE" and not text.startswith("'", next_at):
                next_at = at + 3
                if at == inner and not brackets:
                    body = inner = -1
            else:
                raise self._unexpected(at)
            at = end = next_at
        if brackets:
            raise self.error("this ( is never closed", brackets[0], "add the closing )")
        if body >= 0:
            raise self.error("BEGIN ATOMIC without END", body, "close the body with END after its last semicolon")
        return start + len(text[start:end].rstrip(_SPACE)), at

    def _unexpected(self, at: int) -> InvalidError:
        """Return the error of a character that no statement can go on with."""
        char = self.text[at]
        if char == ")":
            return self.error("this ) closes nothing", at, "remove it, or add the ( that is missing before it")
        if char == "\\":
            hint = "lines that begin with \\ are for psql alone: write plain SQL, and remove them from a dump"
            return self.error("psql meta-commands cannot be used in a migration", at, hint)
        kind = "quoted identifier" if char == '"' else "string"
        return self.error(f"unterminated {kind}", at, "add the closing quote")

    def after_blank(self, at: int) -> int:
        """Pass over white space and comments; block comments nest."""
        while True:
            if found := _BLANK.match(self.text, at):
                at = found.end()
            if not self.text.startswith("/*", at):
                return at
            at = self.after_comment(at)

    def after_comment(self, at: int) -> int:
        """Pass over a block comment and those within it."""
        depth = 0
        for edge in _COMMENT_EDGE.finditer(self.text, at):
            depth += 1 if edge[0] == "/*" else -1
            if not depth:
                return edge.end()
        raise self.error("unterminated comment", at, "add the closing */ (comments nest)")

    def after_dollar(self, at: int) -> int:
        """Pass over $tag$…$tag$, or over a lone dollar sign."""
        tag = _DOLLAR.match(self.text, at)
        if tag is None:
            return at + 1
        end = self.text.find(tag[0], tag.end())
        if end < 0:
            raise self.error(f"unterminated dollar-quoted string {tag[0]}", at, f"add the closing {tag[0]}")
        return end + len(tag[0])

    def after_token(self, at: int) -> int:
        """Pass over a word, a literal, a quoted name or a sign."""
        if self.text[at] == "$" and _DOLLAR.match(self.text, at):
            return self.after_dollar(at)
        token = _TOKEN.match(self.text, at)
        return token.end() if token else at + 1

    def line_comments(self, at: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the bounds of the `--` comments up to an offset. What is quoted, or in a block comment, is passed over."""
        while at < end:
            comment = _SPACE_OR_LINE.match(self.text, at, end)
            if comment and comment["line"]:
                yield comment.span("line")
                at = comment.end()
            elif comment and comment.end() > at:
                at = comment.end()
            elif self.text.startswith("/*", at):
                at = self.after_comment(at)
            else:
                at = self.after_token(at)

    def backslash_in_literal(self, start: int, end: int) -> int | None:
        """Return where the first backslash stands in a plain '…' literal: not all servers read it as it stands."""
        at = start
        while (at := self.after_blank(at)) < end:
            if self.text[at] == "$" and _DOLLAR.match(self.text, at):
                at = self.after_dollar(at)
            elif token := _TOKEN.match(self.text, at):
                if token[0][0] == "'" and "\\" in token[0]:
                    return at + token[0].index("\\")
                at = token.end()
        return None

    def words(self, start: int, limit: int | None = None, end: int | None = None) -> str:
        """Spell a statement as patterns can be held against it: its tokens in upper case, a space after each, no comments."""
        return "".join(
            f"{token} " for token in islice(self.tokens(start, len(self.text) if end is None else end), limit)
        )

    def tokens(self, at: int, end: int) -> Iterator[str]:
        """Yield words and signs. What is quoted loses its text, lest a word in it count; only 'off' and such stay."""
        while (at := self.after_blank(at)) < end:
            if self.text[at] == "$" and _DOLLAR.match(self.text, at):
                yield "$$"
                at = self.after_dollar(at)
            elif token := _TOKEN.match(self.text, at):
                at = token.end()
                if token["name"] or (token["string"] and not _SWITCH.fullmatch(token["string"])):
                    yield '""' if token["name"] else "''"
                else:
                    yield token[0].upper() if token[0].isascii() else token[0]
