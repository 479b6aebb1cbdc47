"""Aligned columns of plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.phrases import width


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one: "1 database", "7 databases"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows in aligned columns, as wide as their content."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(width(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell + " " * (wide - width(cell)) for cell, wide in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
