"""Aligned columns of plain text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows in aligned columns, as wide as their content."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _width(text: str) -> int:
    """Count what takes a column: Thai vowel signs and other marks stand over the letter before."""
    return sum(unicodedata.category(character) not in ("Mn", "Me", "Cf") for character in text)
