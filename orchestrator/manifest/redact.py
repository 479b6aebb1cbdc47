"""Remove secrets from everything that people and machines read."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote_to_bytes

from orchestrator.patterns import regex

_SHORT = 4
_LONG = 8
"""From this length on a secret is also looked for across line breaks, and each of its own lines counts as one."""
_HIDDEN = "***"
_WORD = regex(r"[a-z]{1,12}")
_BESIDE = frozenset("/.-_")  # and letters and digits: what a short secret must not stand beside

# A login is looked for run by run, so that each character is read a bounded number of times.
_RUN = regex(r"[^\s'\"]+")
_USER = regex(r"[A-Za-z0-9+.-]://[^\s:/?#@'\"]*:")
_SINGLE, _DOUBLE = r"'(?:(?:[^'\\]|\\.|'')*'|.*)", r'"(?:(?:[^"\\]|\\.)*"|.*)'  # closed, or to the end of the line
_PASSWORD = regex(
    rf"""\b\w*password\s*=\s*(?:password\s*\(\s*)?({_SINGLE}|[^\s'"&,;)]+)"""  # of a connection string
    rf"""|\bpassword\s+(?:E|U&)?({_SINGLE}|(\$\w*\$)(?:.*?\3|.*))"""  # of CREATE ROLE
    rf"""|["'](?:password|pwd)["']\s*:\s*({_SINGLE}|{_DOUBLE})"""  # of createUser
    rf"""|\b(?:identified\s+(?:(?:with|via)\s+\S+\s+)?(?:by|as|using)|password\s+for\s+\S+\s*=)"""  # of MySQL
    rf"""\s*(?:password\s*)?\(?\s*({_SINGLE}|{_DOUBLE})|\bpassword\s*\(\s*({_SINGLE}|{_DOUBLE})""",
    re.IGNORECASE,
)

_TELLTALE = regex("password|pwd|identified", re.IGNORECASE)
_PERCENT = regex(r"(?:%[0-9A-Fa-f]{2})+|\+")
_ESCAPE = regex(r"(?:\\u[0-9A-Fa-f]{4})+|\\x[0-9A-Fa-f]{2}|\\.|''|\"\"", re.DOTALL)
_DOUBLED = regex(r"''|\"\"")
_CONTROL = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_LINE_BREAK = regex(r"(['\"]?)[ \t]*+\r?\n[ \t]*+\1")
_CUT = regex(r"\.\.\.|…")
_MANY = 64  # secrets, from which on a text is looked through for their beginnings first
_MAX_CUTS = 100  # places at which a server may have cut a value

Span = tuple[int, int]


class Redactor:
    """A callable that returns its text with every known secret replaced by `***`.

    It finds a secret raw, percent-encoded, with the escapes of JSON and SQL, split over lines, and cut off by `...`. One that
    is short or a plain word is hidden only where it stands alone: with the password `postgres`, the name
    `postgres-order` stays readable. The password in `scheme://user:…@` and after `password=`, `PASSWORD '…'`,
    `IDENTIFIED BY '…'` and `"pwd": …` is always hidden. The time is linear in the length of the text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._names: set[str] = set()
        self._forms: frozenset[str] | None = None
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Learn secrets; empty ones are ignored."""
        self._forms = None
        for secret in filter(None, secrets):
            self._secrets.add(secret)
            lines = secret.splitlines()
            if len(lines) > 1:  # a key of several lines is often shown line by line
                self._secrets.update(line.strip() for line in lines if len(line.strip()) >= _LONG)

    def tolerate(self, *names: str) -> None:
        """Learn names that `once_more` leaves alone, although a password is the same word."""
        self._forms = None
        self._names.update(names)

    def once_more(self, text: str) -> str:
        """Return a finished text or document without the secrets that can be nothing else, whoever forgot to hide them.

        Short ones, plain words, numbers and names that are known stay: here they are rather data than a secret.
        """
        if (forms := self._forms) is None:
            self._forms = forms = frozenset(
                form
                for form in self.secrets
                if len(form) >= _LONG and not form.isdecimal() and not _WORD.fullmatch(form) and form not in self._names
            )
        if len(forms) > _MANY:
            begins = {text[at : at + _LONG] for at in range(len(text) - _LONG + 1)}
            forms = frozenset(form for form in forms if form[:_LONG] in begins)
        for form in forms:
            if form in text:
                text = text.replace(form, _HIDDEN)
        return text

    @property
    def secrets(self) -> list[str]:
        """The secrets in all the ways in which they may be written, for those who must hide them elsewhere."""
        forms = set()
        for secret in self._secrets:
            encoded = [way(secret, safe=safe, errors="replace") for way in (quote, quote_plus) for safe in ("", "/")]
            escaped = [json.dumps(secret, ensure_ascii=ascii)[1:-1] for ascii in (False, True)]
            twice = [quote(one, safe="") for one in encoded]
            forms |= {secret, re.sub(r"(['\\])", r"\\\1", secret), *encoded, *twice, *escaped}
        return sorted(form for form in forms if len(form) >= _SHORT)

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        parts, at = [], 0
        for start, end in self.spans(text):
            parts += [text[at:start], _HIDDEN]
            at = end
        return "".join([*parts, text[at:]]) if parts else text

    def spans(self, text: str) -> list[Span]:
        """Return where the secrets of a text are: begin and end of each place, in order, none overlapping another."""
        found = [*_logins(text), *_passwords(text)]
        if self._secrets:
            for spelling in _spellings(text):
                found += self._known(spelling)
            found += self._cut_off(text)
        merged: list[Span] = []
        for start, end in sorted(found):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def _known(self, spelling: _Spelling) -> Iterator[Span]:
        text = spelling.text
        for secret in self._secrets:
            if spelling.joined and (len(secret) < _LONG or _WORD.fullmatch(secret)):
                continue
            wanted = _LINE_BREAK.sub("", secret) if spelling.joined else secret
            alone = len(secret) < _SHORT or _WORD.fullmatch(secret)
            at = text.find(wanted)
            while at >= 0:
                end = at + len(wanted)
                if not (alone and (_beside(text[at - 1 : at]) or _beside(text[end : end + 1]))):
                    yield spelling.place(at, end)
                at = text.find(wanted, end)

    def _cut_off(self, text: str) -> Iterator[Span]:
        """Yield the beginnings of secrets before a `...`, and their ends behind one: a server cuts long values."""
        cuts = [found.span() for found, _ in zip(_CUT.finditer(text), range(_MAX_CUTS), strict=False)]
        for secret in self._secrets if cuts else ():
            if len(secret) < _LONG or _WORD.fullmatch(secret):
                continue
            begins, ends = secret[:_SHORT] in text, secret[-_SHORT:] in text
            for before, behind in cuts:
                if begins and (size := _longest(len(secret), lambda n: text.endswith(secret[:n], 0, before))):  # noqa: B023
                    yield before - size, before
                if ends and (size := _longest(len(secret), lambda n: text.startswith(secret[-n:], behind))):  # noqa: B023
                    yield behind, behind + size


class _Spelling:
    """A text as it reads once its escapes are undone, and where each part of it came from."""

    def __init__(self, text: str, *, joined: bool = False) -> None:
        self.text = text
        self.joined = joined
        self._parent: _Spelling | None = None
        self._here: list[int] = []  # where each decoded piece begins and ends in this text
        self._there: list[int] = []  # and in the parent's

    def place(self, start: int, end: int) -> Span:
        """Return where a part of this spelling is in the text that was given."""
        if self._parent is None:
            return start, end
        return self._parent.place(self._before(start, last=False), self._before(end - 1, last=True))

    def _before(self, at: int, *, last: bool) -> int:
        """Return where a character begins in the parent's text, or with `last` where it ends."""
        piece = bisect_right(self._here, at) - 1
        if piece < 0:
            return at + last
        if piece % 2 == 0:  # inside of a decoded piece, which counts as a whole
            return self._there[piece + last]
        return self._there[piece] + at - self._here[piece] + last

    def undone(self, pattern: re.Pattern[str], decode: Callable[[str], str], *, joined: bool = False) -> _Spelling:
        """Return the spelling in which what the pattern finds is decoded; this one if it finds nothing."""
        made = _Spelling("", joined=joined)
        parts: list[str] = []
        at = size = 0
        for found in pattern.finditer(self.text):
            start, end = found.span()
            read = decode(found[0])
            parts += [self.text[at:start], read]
            size += start - at
            made._here += [size, size + len(read)]
            made._there += [start, end]
            size += len(read)
            at = end
        if not parts:
            return self
        made.text = "".join([*parts, self.text[at:]])
        made._parent = self
        return made


def _spellings(text: str) -> list[_Spelling]:
    """Return the text as it is and with its escapes undone, each also with its line breaks taken out."""
    plain = _Spelling(text)
    unescaped = plain.undone(_ESCAPE, _escape)
    decoded = plain.undone(_PERCENT, _percent)
    levels = [plain, plain.undone(_DOUBLED, lambda found: found[0]), decoded, unescaped]
    if decoded is not plain:  # a DSN may be a part of another URL
        levels += [decoded.undone(_PERCENT, _percent), decoded.undone(_ESCAPE, _escape)]
    if unescaped is not plain:
        levels += [unescaped.undone(_ESCAPE, _escape), unescaped.undone(_PERCENT, _percent)]
    levels += [level.undone(_LINE_BREAK, lambda _: "", joined=True) for level in levels]
    return list({id(level): level for level in levels}.values())


def _percent(found: str) -> str:
    return " " if found == "+" else unquote_to_bytes(found).decode(errors="replace")


def _escape(found: str) -> str:
    if found.startswith(("\\u", "\\x")) and len(found) > 2:
        units = bytes.fromhex("".join(unit.zfill(4) for unit in re.split(r"\\[ux]", found)[1:]))
        return units.decode("utf-16-be", errors="replace")
    return _CONTROL.get(found[1], found[1])


def _longest(size: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number below `size`, and not below what counts as a part of a secret, that fits; or 0."""
    return next((n for n in range(size - 1, _SHORT - 1, -1) if fits(n)), 0)


def _beside(character: str) -> bool:
    return character.isalnum() or character in _BESIDE if character else False


def _logins(text: str) -> Iterator[Span]:
    if "://" not in text:
        return
    for run in _RUN.finditer(text):
        last = run[0].rfind("@")
        if last > 0 and (user := _USER.search(run[0], 0, last)) and user.end() < last:
            yield run.start() + user.end(), run.start() + last


def _passwords(text: str) -> Iterator[Span]:
    if not _TELLTALE.search(text):  # the pattern is not compiled then
        return
    for found in _PASSWORD.finditer(text):
        yield next(found.span(group) for group in (1, 2, 4, 5, 6) if found[group] is not None)


redactor = Redactor()
"""Knows every secret that this process resolved; all text from outside goes through it before anybody sees it."""
