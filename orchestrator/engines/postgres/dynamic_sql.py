"""Texts that a body of PL/pgSQL puts together and executes: what can be read of them before they run.

Constants are followed through `||`, format(), concat(), quoting, and variables. What only the server knows is a hole: one
character stands for it, so that the rules still see the words around it. A text of which a hole hides what kind of statement
it is, or which function it calls, is opaque.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from orchestrator.engines.postgres.spelling import Spelled

HOLE = "\ufffc"
_MOST = 16  # texts that one expression may stand for
_LONGEST = 4000  # characters of one text; what is longer is cut
_WORDS = re.compile(r"\S+")
_BOUNDARY = frozenset({";", "begin", "then", "else", "loop", "declare"})
_ENDS = frozenset({";", "into", "using", "loop", "strict", "from"})
_NO_EXECUTE = frozenset({"function", "procedure", "on"})  # of a trigger, of a GRANT
_SAME = frozenset(
    {"upper", "lower", "trim", "btrim", "ltrim", "rtrim", "initcap", "text", "max", "min", "array_to_string"}
)
_FORMAT = re.compile(r"%(?:(\d+)\$)?-?\d*([sIL%])")
_HIDDEN_KIND = re.compile(
    rf"(?:(?:^|; )(?:explain (?:analyze )?)?(?:[a-z]+ )?|\bview (?:\S+ ){{1,4}}as (?:\( )?){HOLE}"
)
# After these words a hole is a name, or a value.
_NAMED_NEXT = re.compile(
    r"(?:^|; )(?:update|truncate|lock|analyze|vacuum|refresh|reindex|cluster|notify|listen|set|reset) "
)
_CALL = re.compile(rf'"?[^\s"(),.]*{HOLE}[^\s"(),.]*"? (?=\()')
_NO_CALL = re.compile(
    r"\b(?:into|references|table|view|exists|copy|function|procedure|aggregate|routine|on|trigger|values|type)(?: only)? "
    r'(?:(?:"[^"]*"|[^\s"(),.]+) \. )*$'
)


class Token(NamedTuple):
    """A word of a spelled body and its position there; the constant of a text has its value."""

    word: str
    at: int
    value: str | None = None


class Executed(NamedTuple):
    """A text that may be executed, and the word at which its expression begins. `run`: it is what an EXECUTE runs."""

    text: str
    first: Token
    run: bool


def executed(spelled: Spelled) -> Iterator[Executed]:
    """Yield the texts that a body puts together, as far as they can be read."""
    values = {position: text for position, _, text in spelled.texts}
    body = [Token(word[0], word.start(), values.get(word.start())) for word in _WORDS.finditer(spelled.text)]
    known: dict[str, list[str]] = {}
    start = 0
    for index, token in enumerate(body):
        following = body[index + 1].word if index + 1 < len(body) else ""
        if token.word in _BOUNDARY:
            start = index + 1
        elif token.word == "execute" and following not in _NO_EXECUTE:
            until = _end(body, index + 1)
            expression = body[index + 1 : until]
            for text in _fold(expression, known) if expression else ():
                yield Executed(text, _place(expression), run=True)
        elif token.word == ":" and following == "=" and index > start:
            yield from _assign(known, body[start].word, body[index + 2 : _end(body, index + 2)])
        elif token.word == "into" and index > start and body[start].word == "select":
            name = body[index + 2 if following == "strict" else index + 1 : index + 3]
            if name:
                yield from _assign(known, name[0].word, body[start + 1 : index])
        elif token.word == "in" and following in ("select", "(") and index > start + 1 and body[start].word == "for":
            _loop(known, body[index - 1].word, body, index + 1)


def is_opaque(spelled: str) -> bool:
    """Whether a hole hides what kind of statement a text is, or what it calls. `spelled` is as the rules read it."""
    if HOLE not in spelled:
        return False
    if _HIDDEN_KIND.search(spelled) and not _NAMED_NEXT.match(spelled):
        return True
    return any(not _NO_CALL.search(spelled[: call.start()]) for call in _CALL.finditer(spelled))


def _assign(known: dict[str, list[str]], name: str, expression: Sequence[Token]) -> Iterator[Executed]:
    """Take note that a variable may have these values, too. In a branch or a loop it may keep those of before."""
    name = _plain(name)
    found = _fold(expression, known)
    known[name] = list(dict.fromkeys([*found, *known.get(name, ())]))[:_MOST]
    if len(expression) > 1:
        for text in found:
            yield Executed(text, _place(expression), run=False)


def _place(expression: Sequence[Token]) -> Token:
    """Return the first constant of an expression, or its first word."""
    return next((token for token in expression if token.value is not None), expression[0])


def _loop(known: dict[str, list[str]], name: str, body: Sequence[Token], at: int) -> None:
    """Take note of what the columns of a query are over which a loop goes."""
    while at < len(body) and body[at].word in ("(", "select", "distinct", "all"):
        at += 1
    items = _split(body[at : _end(body, at)])
    for number, item in enumerate(items):
        words = [token.word for token in item]
        named = words[-2:-1] == ["as"]
        values = _fold(item[:-2] if named else item, known)
        if named:
            known[f"{_plain(name)}.{_plain(words[-1])}"] = values
        if number == 0:
            known[_plain(name)] = values


def _end(body: Sequence[Token], at: int) -> int:
    """Return where an expression ends that begins at `at`."""
    depth = 0
    for index in range(at, len(body)):
        word = body[index].word
        depth += (word in ("(", "[")) - (word in (")", "]"))
        if depth < 0 or (depth == 0 and word in _ENDS):
            return index
    return len(body)


def _split(part: Sequence[Token], by: str = ",") -> list[Sequence[Token]]:
    """Return the parts between commas, or pairs of `|`, that stand in no brackets."""
    found: list[Sequence[Token]] = []
    depth = start = 0
    for index, token in enumerate(part):
        depth += (token.word in ("(", "[")) - (token.word in (")", "]"))
        if depth == 0 and token.word == by and not (by == "|" and index == start):
            found.append(part[start:index])
            start = index + 1
        elif by == "|" and token.word == by and index == start:
            start = index + 1
    return [*found, part[start:]]


def _fold(expression: Sequence[Token], known: Mapping[str, list[str]]) -> list[str]:
    """Return the texts that an expression may be."""
    results = [""]
    for part in _split(expression, "|"):
        values = _operand(part, known)
        results = [(before + value)[:_LONGEST] for before in results for value in values][:_MOST]
    return results


def _operand(part: Sequence[Token], known: Mapping[str, list[str]]) -> list[str]:
    words = [token.word for token in part]
    if "::" in "".join(words) and ":" in words:  # a cast
        part, words = part[: words.index(":")], words[: words.index(":")]
    if words[:2] == ["pg_catalog", "."]:
        part, words = part[2:], words[2:]
    if not part:
        return [HOLE]
    if len(part) == 1:
        return [part[0].value] if part[0].value is not None else known.get(_plain(words[0]), [HOLE])
    if len(part) == 3 and words[1] == ".":
        return known.get(f"{_plain(words[0])}.{_plain(words[2])}", [HOLE])
    if words[0] == "(" and _closing(words, 0) == len(words) - 1:
        inner = part[1:-1]
        return _fold(_selected(inner) if words[1] == "select" else inner, known)
    if words[1] == "(" and _closing(words, 1) == len(words) - 1:
        return _called(words[0], _split(part[2:-1]), known)
    return [HOLE]


def _selected(query: Sequence[Token]) -> Sequence[Token]:
    """Return the first column of a query, without its name."""
    item = _split(query[1 : _end(query, 1)])[0]
    return item[:-2] if [token.word for token in item[-2:-1]] == ["as"] else item


def _closing(words: Sequence[str], at: int) -> int:
    """Return where the bracket closes that opens at `at`."""
    depth = 0
    for index in range(at, len(words)):
        depth += (words[index] == "(") - (words[index] == ")")
        if depth == 0:
            return index
    return -1


def _called(name: str, arguments: Sequence[Sequence[Token]], known: Mapping[str, list[str]]) -> list[str]:
    """Return the texts that a function of PostgreSQL may return."""
    values = [_fold(argument, known) for argument in arguments]
    first = values[0]
    match name:
        case "format":
            return [_format(template, [value[0] for value in values[1:]]) for template in first]
        case "concat":
            return ["".join(value[0] for value in values)]
        case "concat_ws":
            return [first[0].join(value[0] for value in values[1:])]
        case "quote_ident":
            return [_identifier(value) for value in first]
        case "quote_literal" | "quote_nullable":
            return [_literal(value) for value in first]
        case "replace" if len(values) == 3 and HOLE not in values[1][0] + values[2][0]:
            return [value.replace(values[1][0], values[2][0]) if values[1][0] else value for value in first]
        case "reverse" if HOLE not in first[0]:
            return [value[::-1] for value in first]
        case "chr" if len(arguments[0]) == 1 and arguments[0][0].word.isdecimal():
            return [chr(int(arguments[0][0].word) % 0x110000)]
        case "coalesce":
            return list(dict.fromkeys(text for value in values for text in value))[:_MOST]
        case "string_agg":
            return first
    return first if name in _SAME else [HOLE]


def _format(template: str, values: Sequence[str]) -> str:
    """Return what format() makes of a template."""
    following = 0

    def fill(match: re.Match[str]) -> str:
        nonlocal following
        if match[2] == "%":
            return "%"
        index = int(match[1]) - 1 if match[1] else following
        following = index + 1
        value = values[index] if 0 <= index < len(values) else HOLE
        if match[2] == "s":
            return value
        return _identifier(value) if match[2] == "I" else _literal(value)

    return _FORMAT.sub(fill, template)


def _identifier(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _plain(name: str) -> str:
    return name.strip('"')
