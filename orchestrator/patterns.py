"""Regular expressions that are compiled when they are first used: a run uses few of those in the modules that it loads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

_compile = re.compile


class _Pattern:
    """What `re.compile` returns, once somebody asks for one of its attributes."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self._arguments = pattern, flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy and pickle look for such names in an object that is not complete yet
            raise AttributeError(name)
        value = getattr(_compile(*self._arguments), name)  # `re` keeps it
        setattr(self, name, value)  # the next time Python finds it without this method
        return value


if TYPE_CHECKING:
    from re import compile as regex
else:
    regex = _Pattern


@contextmanager
def compiled_when_used() -> Iterator[None]:
    """Import modules of others in this: what they compile with `re.compile` is compiled when it is used.

    Only for a process that is ours alone and has one thread, before anything else can call `re.compile`.
    """
    re.compile = regex
    try:
        yield
    finally:
        re.compile = _compile


__all__ = ["compiled_when_used", "regex"]
