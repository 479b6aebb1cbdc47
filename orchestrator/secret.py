"""A text that hides its value unless it is revealed explicitly."""

from __future__ import annotations

import os

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
