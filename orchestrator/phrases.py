"""Parts of messages: names in a sentence, the word that was meant, and how wide a text is on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from unicodedata import category, east_asian_width

SHOWN = 5
"""So many names stand in a sentence; what many databases share is one message."""


def some(names: Sequence[str], shown: int = SHOWN) -> str:
    """Return the names in a sentence: the first few, and how many more there are."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown:,} more" if len(names) > shown else "")


def either(words: Sequence[str]) -> str:
    """Return the words as "a", "a or b", "a, b or c"."""
    return " or ".join([*([", ".join(words[:-1])] if words[1:] else []), *words[-1:]])


def did_you_mean(word: str, possible: Iterable[str]) -> str:
    """Return "did you mean …?" with the nearest of `possible`, or an empty text."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(dict.fromkeys(possible)), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def one_line(text: str) -> str:
    """Return a text as one line that every database and terminal takes: a space for what cannot be shown, "?" for no UTF-8."""
    valid = text.encode(errors="replace").decode()
    return " ".join("".join(one if one.isprintable() else " " for one in valid).split())


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes.

    Thai vowel signs and other marks stand over the letter before; a Chinese letter and most emoji take two.
    """
    if text.isascii():
        return len(text)
    letters = (character for character in text if category(character) not in ("Mn", "Me", "Cf"))
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in letters)
