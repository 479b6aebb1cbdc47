"""The lexical rules of MySQL and MariaDB: tokens, and where statements end, also those with bodies.

A body (CREATE PROCEDURE, FUNCTION, TRIGGER, EVENT, and MariaDB's BEGIN NOT ATOMIC, IF, FOR and the like) holds semicolons:
the words that open and close its blocks are counted. Lines with DELIMITER, as the client program has them, are understood too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from orchestrator.patterns import regex
from orchestrator.records import dataclass, field

# A comment with `!` is code for the server, if that is new enough: its marks are blank, and what is inside is read.
# No server is as new as 99999 and 999999, by which dumps hide a line from all of them.
_TOKENS = r"""
        (?P<blank>\s+|\#[^\n]*|/\*M?!9{5,6}(?:[^*]|\*(?!/))*+(?:\*/)?|--(?=[\s\x00-\x1f]|\Z)[^\n]*|/\*M?!(?:[0-9]{5,6})?|\*/|/\*(?!M?!)(?:[^*]|\*(?!/))*+(?:\*/)?)
      | (?P<text>[nN]?'(?:[^'\\]|\\.|'')*+'?|"(?:[^"\\]|\\.|"")*+"?)
      | (?P<quoted>`(?:[^`]|``)*+`?)
      | (?P<number>(?:0x[0-9A-Fa-f]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![A-Za-z_$0-9\x80-\U0010ffff]))
      | (?P<variable>@@?[A-Za-z0-9_$.\x80-\U0010ffff]+)
      | (?P<word>[A-Za-z0-9_$\x80-\U0010ffff]+)
      | (?P<semi>;)
      | (?P<other>.)"""
_TOKEN = regex(_TOKENS, re.VERBOSE | re.DOTALL)
# The same with NO_BACKSLASH_ESCAPES: a backslash is a character like any other.
_TOKEN_RAW = regex(_TOKENS.replace(r"(?:[^'\\]|\\.|'')", "(?:[^']|'')").replace(
    r'(?:[^"\\]|\\.|"")', '(?:[^"]|"")'
), re.VERBOSE | re.DOTALL)  # fmt: skip
_DELIMITER = regex(r"[ \t]*delimiter[ \t]+(?P<mark>\S+)[^\n]*", re.IGNORECASE)
_KINDS_WITH_BODY = frozenset({"procedure", "function", "trigger", "event", "package"})
_KINDS_WITHOUT = frozenset({"table", "view", "index", "user", "role", "database", "schema", "server", "sequence"})
_BEFORE_KIND = 12  # words: CREATE OR REPLACE DEFINER = `a`@`b` AGGREGATE FUNCTION


@dataclass(frozen=True, slots=True)
class Token:
    """A token that means something: its kind, its text (words in lower case), and where it stands."""

    kind: str
    text: str
    start: int
    end: int


COMPOUND = frozenset({"if", "case", "while", "repeat", "loop", "for"})
"""Statements with others in them, which MariaDB takes outside of bodies too."""
_MEASURED = frozenset({"select", "insert", "update", "delete", "replace", "with"})
# What stands before a statement in a body.
_BEFORE_STATEMENT = frozenset({";", "begin", "then", "else", "do", "loop", "repeat", ":"})
_BEFORE_END = frozenset({";", "begin", "atomic"})
# After these BEGIN is a name.
_BEFORE_NAME = frozenset(
    {"xa", "select", "set", "declare", "as", "where", "and", "or", "by", "on", "having", "distinct", "like", "in"}
    | {"between", "into", "return", "fetch", "column", "default"}
)


@dataclass(slots=True)
class Piece:
    """A statement as it stands in the file, without the delimiter around it.

    `tokens` are those of what runs: the SET STATEMENT … FOR or ANALYZE before it is its `prefix`.
    `delimiter` is what ended it.
    """

    start: int
    end: int
    tokens: list[Token] = field(default_factory=list)
    prefix: list[Token] = field(default_factory=list)
    delimiter: str = ";"
    _words: list[str] | None = None

    @property
    def words(self) -> list[str]:
        """The texts of its tokens; names without their quotes. Read it only when the piece is complete."""
        if self._words is None:
            self._words = [name_of(token) for token in self.tokens]
        return self._words


def tokens(text: str, start: int = 0, *, raw: bool = False) -> Iterator[Token]:
    """Yield the tokens of a text, without blanks and comments. `raw`: as with NO_BACKSLASH_ESCAPES."""
    for found in (_TOKEN_RAW if raw else _TOKEN).finditer(text, start):
        kind = found.lastgroup or "other"
        if kind != "blank":
            yield Token(kind, found[0].lower() if kind == "word" else found[0], found.start(), found.end())


def name_of(token: Token) -> str:
    """Return what a token names: a word in lower case, a quoted name or a text without its quotes."""
    if token.kind == "quoted":
        return token.text[1:-1].replace("``", "`")
    if token.kind == "text":
        quote = '"' if token.text.endswith('"') else "'"
        return token.text.lstrip("nN")[1:-1].replace(quote * 2, quote)
    return token.text


def as_written(token: Token, text: str) -> str:
    """Return a name as it is spelled, without its quotes: the case of letters may matter."""
    return text[token.start : token.end] if token.kind == "word" else name_of(token)


def _pass(_: tuple[int, int]) -> None:
    """Do nothing with the bounds of a blank."""


def split(text: str, *, raw: bool = False, blank: Callable[[tuple[int, int]], None] = _pass) -> list[Piece]:
    """Return the statements of a text, without the delimiters between them. Linear in its length.

    `blank` is called with the bounds of each blank and comment.
    """
    pieces: list[Piece] = []
    pattern = _TOKEN_RAW if raw else _TOKEN
    place, delimiter = 0, ";"
    piece: Piece | None = None
    body = _Body()
    conditional = 0
    while place < len(text):
        if piece is None and (line := _delimiter_line(text, place)):
            delimiter, place = line["mark"], line.end()
            continue
        if delimiter != ";" and text.startswith(delimiter, place):
            pieces += [_whole(piece)] if piece is not None else []
            piece, place, body, conditional = None, place + len(delimiter), _Body(), 0
            continue
        found = pattern.match(text, place)
        if found is None:  # the pattern takes any character
            break
        kind, start, place = found.lastgroup or "other", place, found.end()
        if delimiter != ";" and kind in ("word", "other") and (cut := found[0].find(delimiter)) > 0:
            place = start + cut
            found = pattern.match(text[:place], start) or found
        if found[0] == "*/" and not conditional:  # 2*/* a comment */3
            kind, place, found = "other", start + 1, pattern.match("*") or found
        if kind == "blank":
            if found[0].startswith(("/*!", "/*M!")) and not found[0].endswith("*/"):
                conditional += 1
                piece = piece or Piece(start, place, delimiter=delimiter)
            elif found[0] == "*/":
                conditional -= 1
            if piece is not None and found[0][:2] in ("/*", "*/") and (conditional or found[0] == "*/"):
                piece.end = place
            blank((start, place))
            continue
        token = Token(kind, found[0].lower() if kind == "word" else found[0], start, place)
        if delimiter == ";" and kind == "semi" and not body.inside and conditional <= 0:
            pieces += [_whole(piece)] if piece is not None else []
            piece, body, conditional = None, _Body(), 0
            continue
        piece = piece or Piece(start, place, delimiter=delimiter)
        piece.end = place
        piece.tokens.append(token)
        if kind == "word" and _ends_prefix(piece.tokens):
            body = _Body()
            _take_prefix(piece)
        if piece.tokens:
            body.add(piece.tokens)
    if piece is not None:
        pieces.append(_whole(piece))
    return pieces


def _whole(piece: Piece) -> Piece:
    """Return a statement that has come to its end; a prefix with nothing behind it is a statement, which the server refuses."""
    if not piece.tokens:
        piece.tokens, piece.prefix = piece.prefix, []
    return piece


def _ends_prefix(tokens: list[Token]) -> bool:
    """Whether the last token ends what MariaDB takes before a statement that it runs: SET STATEMENT a = 1 FOR, or ANALYZE."""
    first, last = tokens[0].text, tokens[-1].text
    if first == "set":
        return last == "for" and len(tokens) > 1 and tokens[1].text == "statement"
    return first == "analyze" and last in _MEASURED and (len(tokens) == 2 or tokens[1].text == "format")


def _take_prefix(piece: Piece) -> None:
    """Keep the tokens so far as the prefix of a statement: FOR belongs to it, UPDATE does not."""
    ends = len(piece.tokens) - (piece.tokens[-1].text in _MEASURED)
    piece.prefix, piece.tokens = piece.prefix + piece.tokens[:ends], piece.tokens[ends:]


def _delimiter_line(text: str, place: int) -> re.Match[str] | None:
    """Return the DELIMITER line that begins here: the client program knows it at the beginning of a line only."""
    start = text.rfind("\n", 0, place) + 1
    if text[start:place].strip():
        return None
    return _DELIMITER.match(text, place) if text[place : place + 1] in "dD \t" else None


class _Body:
    """Whether a statement is inside of a body, by the words so far."""

    def __init__(self) -> None:
        self._has_body = False
        self._decided = False
        self._open: list[str] = []
        self._closing = False  # END was read: the next word may say what ends
        self._is_returned = False  # RETURNS was read: a type stands there, whatever its words
        self._is_query = False  # the one statement of the body is a query or RETURN: no block begins in it

    @property
    def inside(self) -> bool:
        return bool(self._open)

    def add(self, tokens: list[Token]) -> None:
        """Take the last token."""
        token = tokens[-1]
        if not self._decided:
            self._decide(tokens)
            if self._open:  # it began with the first words
                return
        if not self._has_body:
            return
        if token.kind != "word":
            if self._closing and token.kind == "semi":
                self._closing = False
            return
        word, before = token.text, tokens[-2].text if len(tokens) > 1 else ""
        if self._closing:
            self._closing = False
            if word in COMPOUND:
                return
        if not self._open:
            self._is_returned = self._is_returned or word == "returns"
            self._is_query = self._is_query or word in ("return", "select", "with", "call")
        if word == "end":
            self._end(before)
        elif word == "each" and before == "for" and self._open[-1:] == ["for"]:
            self._open.pop()  # FOR EACH ROW of a trigger
        elif self._opens(word, before, tokens):
            self._open.append(word)

    def _end(self, before: str) -> None:
        """Take the word END: a statement stands before it, or an expression in CASE and UNTIL; else it is a name."""
        if (
            self._open
            and (self._open[-1] in ("case", "repeat") or before in _BEFORE_END)
            and before not in (".", "@", "as")
        ):
            self._open.pop()
            self._closing = True

    def _opens(self, word: str, before: str, tokens: list[Token]) -> bool:
        if word == "begin":
            is_sign = tokens[-2].kind == "other" and before not in (")", ":") if len(tokens) > 1 else False
            return before not in _BEFORE_NAME and not is_sign
        if word in ("case", "loop"):
            return before != "."
        if word == "repeat":
            return not self._is_call(tokens)
        return word in ("if", "while", "for") and self._is_statement(before, tokens)

    def _decide(self, tokens: list[Token]) -> None:
        words = [token.text for token in tokens]
        first = words[0]
        if first == "create":
            if words[-1] in _KINDS_WITH_BODY:
                self._has_body = self._decided = True
            elif words[-1] in _KINDS_WITHOUT or len(words) > _BEFORE_KIND * 2:
                self._decided = True
        elif first == "alter":
            self._has_body = words[-1] == "event"
            self._decided = self._has_body or words[-1] in _KINDS_WITHOUT or len(words) > _BEFORE_KIND
        elif first == "begin" and words[1:] == ["not", "atomic"][: len(words) - 1]:
            if len(words) == 3:
                self._has_body = self._decided = True
                self._open.append("begin")
        elif first in COMPOUND and tokens[0].kind == "word":
            self._has_body = self._decided = True
            self._open.append(first)
        elif words != ["set"] and words != ["analyze"]:  # of which the next word may be that of a prefix
            self._decided = True

    def _is_statement(self, before: str, tokens: list[Token]) -> bool:
        """Whether IF, WHILE or FOR begins a statement: IF() is a function too, and FOR stands in cursors and locks."""
        if not self._open:
            return self._begins_body(before, tokens)
        if before == "do" and len(tokens) > 2 and tokens[-3].text in _BEFORE_STATEMENT:  # DO IF(a, b, c);
            return False
        if before == "atomic":  # BEGIN NOT ATOMIC, and not a table of that name
            return len(tokens) > 2 and tokens[-3].text == "not"
        return before in _BEFORE_STATEMENT

    def _is_call(self, tokens: list[Token]) -> bool:
        """Whether REPEAT is the function: it is no statement where an expression stands before it."""
        before = tokens[-2].text if len(tokens) > 1 else ""
        if not self._open and self._begins_body(before, tokens):
            return False
        return before not in _BEFORE_STATEMENT

    def _begins_body(self, before: str, tokens: list[Token]) -> bool:
        """Whether the last token stands where the one statement of a body may begin, after what is said of the routine."""
        if self._is_query:
            return False
        if self._is_returned or before in (")", ":", "deterministic", "sql", "data", "definer", "invoker", "row", "do"):
            return True
        return len(tokens) > 2 and tokens[-3].text in ("comment", "follows", "precedes")
