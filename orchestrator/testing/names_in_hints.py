"""Hints that name options of the command line name here what Python programs have in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.errors import InvalidGroup, OrchError
from orchestrator.hints import EMBEDDED, WAIT

WAIT_HERE = "the argument `wait` of orchestrator.testing.estate()"
EMBEDDED_HERE = "`embedded=True`"
"""How hints name these two settings here; pytest has its own names for them."""


@contextmanager
def named_here() -> Iterator[None]:
    """Give hints that name options of the command line the names which these have here."""
    try:
        yield
    except InvalidGroup as group:
        for error in group.errors:
            error.hint = error.hint.mapped(_here)
        raise
    except OrchError as error:
        error.hint = error.hint.mapped(_here)
        raise


def _here(text: str) -> str:
    return text.replace(WAIT, WAIT_HERE).replace(EMBEDDED, EMBEDDED_HERE)
