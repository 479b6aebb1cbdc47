"""Secrets: a text that hides its value unless it is revealed, and texts from which secrets are removed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

_MARGIN = 64 * 1024  # characters: no secret is longer
_KEY = os.urandom(32)  # of this process: an id tells nothing about its secret, and means nothing elsewhere


class Secret:
    """A text that masks itself, such as a DSN with its password: `repr`, `str` and `format` give `***`.

    `reveal` returns the text, for the driver. `id` is the same for equal texts, and the key of dicts. It cannot be pickled.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself. Only what talks to a server or reads the text's parts needs it."""
        return self._text

    @property
    def id(self) -> str:
        """An opaque id: a keyed digest of the text, valid in this process."""
        import hashlib

        return hashlib.blake2b(self._text.encode("utf-8", "surrogatepass"), key=_KEY, digest_size=16).hexdigest()

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, specification: str) -> str:
        return format("***", specification)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")

    def __deepcopy__(self, memo: object) -> Secret:
        return self


def bounded(text: str, limit: int) -> str:
    """Return a text of at most about `limit` characters: the middle of a longer one is left out, and that is said."""
    if len(text) <= limit:
        return text
    head, tail = limit * 3 // 4, limit // 4
    return f"{text[:head]} [… {len(text) - head - tail:,} characters …] {text[-tail:]}"


class Redact(Protocol):
    """Hides the secrets of a text, or tells where they are."""

    def __call__(self, text: str, /) -> str:
        """Return the text without secrets."""

    def spans(self, text: str, /) -> list[tuple[int, int]]:
        """Return where the secrets of a text begin and end, in order."""


def hidden(text: str, limit: int, redact: Callable[[str], str]) -> str:
    """Return a text without secrets, then shortened to about `limit` characters: a secret at the cut is hidden whole.

    Of a very long text only what is near the part that stays is looked through.
    """
    if len(text) <= limit + 2 * _MARGIN:
        return bounded(redact(text), limit)
    head, tail = limit * 3 // 4, limit // 4
    first, last = redact(text[: head + _MARGIN])[:head], redact(text[-tail - _MARGIN :])[-tail:]
    return f"{first} [… {len(text) - head - tail:,} characters …] {last}"
