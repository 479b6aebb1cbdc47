"""Code that is neither SQL nor PL/pgSQL: the texts in it that it may execute, and functions that are another name for one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.engines.postgres.spelling import Spelled, spell

ALIASES = frozenset({"c", "internal"})
"""Languages in which a function is a name of the server, or of a library."""
_SQL = frozenset({"", "sql", "plpgsql"})
_LANGUAGE = re.compile(r'\blanguage (?:"([^"]*)"|\'\'|(\S+)) ')
# What code in a language that may do everything calls to reach programs, files and other servers.
_OUTSIDE = re.compile(
    r"\b(?:aiohttp|asyncpg|connect|DBI|exec|fork|http|httpx|LWP|open|os|pg8000|pg_connect|popen|psycopg2?|pymongo|pymysql"
    r"|qx|requests|shutil|socket|spawn|sqlalchemy|subprocess|system|unlink|urllib)\b|`"
)
_SHELLS = frozenset({"plsh", "plbash"})
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


def leaves(language: str, code: str) -> str:
    """Return by what code leaves the database; '' if by nothing that is known. Only untrusted languages can."""
    if language in _SHELLS:
        return f"code in {language}"
    found = _OUTSIDE.search(code) if language.endswith("u") or language == "plpython" else None
    return f"code in {language} with {found[0]}" if found else ""


def quoted(code: str, offset: int) -> Iterator[Spelled]:
    """Yield what stands in quotation marks in code that begins at `offset` of its file: it may be executed."""
    for text in _QUOTED.finditer(code):
        inside = next((part for part in text.groups() if part is not None), "")
        yield spell(inside, offset + text.start())
