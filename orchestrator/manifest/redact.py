"""Keeps secrets out of everything that people and machines read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

_SHORT = 4
_HIDDEN = "***"
_WORD = re.compile(r"[a-z]{1,12}")
_LOGIN = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*://[^\s:/?#@'\"]*):[^\s'\"]+@")
_SINGLE, _DOUBLE = r"'(?:(?:[^'\\]|\\.|'')*'|.*)", r'"(?:(?:[^"\\]|\\.)*"|.*)'  # closed, or to the end of the line
_PASSWORD = re.compile(
    rf"""\b(\w*password\s*=\s*)(?:{_SINGLE}|[^\s'"&,;)]+)"""  # of a connection string
    rf"""|\b(password\s+E?)(?:{_SINGLE}|(\$\w*\$)(?:.*?\3|.*))"""  # of CREATE ROLE
    rf"""|(["'](?:password|pwd)["']\s*:\s*)(?:{_SINGLE}|{_DOUBLE})""",  # of createUser
    re.IGNORECASE,
)


class Redactor:
    """A callable that returns its text with every known secret replaced by `***`.

    It knows a secret raw, percent-encoded and with backslashes before quotes. One that is short or a plain word is hidden
    only where it stands alone: with the password `postgres`, the name `postgres-order` stays readable. The password in
    `scheme://user:…@` and after `password=`, `PASSWORD '…'` and `"pwd": …` is always hidden.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Learn secrets; empty ones are ignored."""
        before = len(self._forms)
        for secret in filter(None, secrets):
            if secret not in self._forms:
                backslashed = re.sub(r"(['\\])", r"\\\1", secret)
                encoded = [
                    way(secret, safe=safe, errors="replace") for way in (quote, quote_plus) for safe in ("", "/")
                ]
                self._forms |= {secret, backslashed, *encoded}
        if len(self._forms) > before:
            ordered = sorted(self._forms, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(_form_pattern(form) for form in ordered))

    @property
    def secrets(self) -> list[str]:
        """The secrets in all the ways in which they may be written, for those who must hide them elsewhere."""
        return sorted(form for form in self._forms if len(form) >= _SHORT)

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        if self._pattern:
            text = self._pattern.sub(_HIDDEN, text)
        text = _LOGIN.sub(rf"\1:{_HIDDEN}@", text)
        return _PASSWORD.sub(lambda found: f"{found[1] or found[2] or found[4]}{_HIDDEN}", text)


def _form_pattern(form: str) -> str:
    if len(form) >= _SHORT and not _WORD.fullmatch(form):
        return re.escape(form)
    return rf"(?<![\w/.-]){re.escape(form)}(?![\w/.-])"
