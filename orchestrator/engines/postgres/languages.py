"""Code that is neither SQL nor PL/pgSQL: the texts in it that it may execute, and functions that are another name for one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.engines.postgres.spelling import Spelled, spell

ALIASES = frozenset({"c", "internal"})
"""Languages in which a function is a name of the server, or of a library."""
_SQL = frozenset({"", "sql", "plpgsql"})
_LANGUAGE = re.compile(r'\blanguage (?:"([^"]*)"|\'\'|(\S+)) ')
_QUOTED = re.compile(
    r'"""(.*?)"""|\'\'\'(.*?)\'\'\'|"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'|`((?:[^`\\]|\\.)*)`', re.DOTALL
)


def language_of(spelled: Spelled) -> str:
    """Return the language of a CREATE FUNCTION or a DO; '' if it names none."""
    if not (named := _LANGUAGE.search(spelled.text)):
        return ""
    at = named.start() + len("language ")
    return next((text for position, _, text in spelled.texts if position == at), named[1] or named[2] or "").lower()


def is_other(language: str) -> bool:
    """Whether code of this language can only be read for the texts in it."""
    return language not in _SQL | ALIASES


def quoted(code: str, offset: int) -> Iterator[Spelled]:
    """Yield what stands in quotation marks in code that begins at `offset` of its file: it may be executed."""
    for text in _QUOTED.finditer(code):
        inside = next((part for part in text.groups() if part is not None), "")
        yield spell(inside, offset + text.start())
