"""Find session settings in PostgreSQL files that have less effect than a reader may expect. Pure functions.

golang-migrate runs all files in one session, in which a SET of one file holds for the next; orch gives every file a
session as it was connected. And a file that runs statement by statement may be finished by a later run, in a session
that does not have what lasts only as long as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from orchestrator.model import Mark, Script, telling, telling_text
from orchestrator.patterns import regex
from orchestrator.records import NamedTuple

_ASIDE = regex(r"--[^\n\r]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$", re.DOTALL)
_SESSION = r"(?:RE)?SET\s+(?:SESSION\s+)?"
_CONFIG = (
    r"SELECT\s+(?:pg_catalog\s*\.\s*)?set_config\s*\(\s*'{name}'\s*,\s*(?P<config>'(?:[^']|'')*')\s*,"
    r"\s*'?(?:false|f|off|no|0)\b"
)
_PATH = regex(
    rf"(?:{_SESSION}search_path\b\s*(?:(?:=|TO\b)\s*(?P<value>.*))?|{_CONFIG.format(name='search_path')})",
    re.IGNORECASE | re.DOTALL,
)
_ROLE = regex(
    rf"(?:(?P<reset>RESET\s+(?:ROLE|SESSION\s+AUTHORIZATION))|SET\s+(?:SESSION\s+)?(?:ROLE|SESSION\s+AUTHORIZATION)\b\s*(?P<value>.*)"
    rf"|{_CONFIG.format(name='role')})",
    re.IGNORECASE | re.DOTALL,
)
_RESET_ALL = regex(r"RESET\s+ALL\b|DISCARD\s+ALL\b", re.IGNORECASE)
_WORD = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
# The names that most statements of migrations begin with; one with a schema before it does not depend on the path.
_NAMED = regex(
    r"(?:(?:CREATE|ALTER|DROP)\s+(?:OR\s+REPLACE\s+)?(?:UNLOGGED\s+|FOREIGN\s+|MATERIALIZED\s+|RECURSIVE\s+)*"
    r"(?:TABLE|VIEW|SEQUENCE|TYPE|DOMAIN|FUNCTION|PROCEDURE|AGGREGATE)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(?:ONLY\s+)?"
    r"|CREATE\s+(?:UNIQUE\s+)?INDEX\s+.*?\bON\s+(?:ONLY\s+)?|DROP\s+INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+EXISTS\s+)?"
    r"|(?:INSERT\s+INTO|DELETE\s+FROM|UPDATE|TRUNCATE(?:\s+TABLE)?)\s+(?:ONLY\s+)?|COMMENT\s+ON\s+(?:TABLE|VIEW|COLUMN)\s+)"
    rf"(?P<name>{_WORD})(?!\s*\.)(?![\w$])",
    re.IGNORECASE | re.DOTALL,
)
_CREATE = regex(r"CREATE\s", re.IGNORECASE)
_NOTHING = regex(r"SET\s+(?P<what>LOCAL|TRANSACTION|CONSTRAINTS)\b", re.IGNORECASE)
_LASTING = (
    (r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:(?:GLOBAL|LOCAL)\s+)?TEMP(?:ORARY)?\s", "a temporary object"),
    (r"PREPARE\s+(?!TRANSACTION\b)", "a prepared statement"),
    (r"DECLARE\b.*\bWITH\s+HOLD\b", "a cursor WITH HOLD"),
    (r"LISTEN\s", "LISTEN"),
    (r"SELECT\b.*\bpg_(?:try_)?advisory_lock(?:_shared)?\s*\(", "an advisory lock of the session"),
)
_RULES = tuple((regex(pattern, re.IGNORECASE | re.DOTALL), what) for pattern, what in _LASTING)


# Settings that change what a later file does, although no error shows it: their usual values, and the statements they change.
_WRITES = r"(?:WITH\s.*)?(?:INSERT|UPDATE|DELETE|MERGE)\s"
_READS_TEXT = rf"(?:{_WRITES}|(?:CREATE|ALTER)\s).*'[^']*\d[^']*'"
_MAKES = r"CREATE\s+(?:UNLOGGED\s+)?(?:TABLE|MATERIALIZED|(?:UNIQUE\s+)?INDEX)\b"
_DEPENDS = {
    "session_replication_role": ("origin", regex(_WRITES, re.IGNORECASE | re.DOTALL), "writes rows"),
    "datestyle": ("iso(?:, mdy)?", regex(_READS_TEXT, re.IGNORECASE | re.DOTALL), "may read a date"),
    "timezone": ("", regex(_READS_TEXT, re.IGNORECASE | re.DOTALL), "may read a time"),
    "intervalstyle": ("(?:postgres)", regex(_READS_TEXT, re.IGNORECASE | re.DOTALL), "may read an interval"),
    "default_tablespace": ("", regex(_MAKES, re.IGNORECASE), "makes a table or an index"),
    "default_table_access_method": ("heap", regex(_MAKES, re.IGNORECASE), "makes a table"),
}
_NAMES = "|".join(_DEPENDS)
_SETTING = regex(
    rf"{_SESSION}(?:(?P<name>{_NAMES})\b\s*(?:=|TO\b)?|(?P<zone>TIME\s+ZONE\b))\s*(?P<value>.*)"
    rf"|{_CONFIG.format(name=f'(?P<named>{_NAMES})')}",
    re.IGNORECASE | re.DOTALL,
)


class Finding(NamedTuple):
    """Something to know of one place in a file."""

    where: Mark
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def limited_effects(script: Script, *, set_local: bool) -> Iterator[Finding]:
    """Yield what has no effect, or one that a later run of the file would lack, where it runs statement by statement.

    `set_local`: whether SET LOCAL is for one transaction; in MySQL it is for the session.
    """
    if script.atomic:
        return
    for number, statement in enumerate(script.statements, 1):
        if not isinstance(statement.body, str):
            return
        where = Mark(script.file.path, statement.line)
        if set_local and not statement.block and (found := _NOTHING.match(statement.source)):
            yield Finding(where, f"SET {found['what'].upper()} has no effect outside of BEGIN … COMMIT")
        if number == len(script.statements):
            return
        for part in _parts(statement.source):
            for rule, what in _RULES:
                if rule.match(part):
                    yield Finding(
                        where,
                        f"{what} lasts as long as the session: if the run stops below it, "
                        "the run that continues this file does not have it",
                    )


def leaks(scripts: Iterable[Script]) -> Iterator[Finding]:
    """Yield what files SET that in golang-migrate would hold for a later file of the same run, where that depends on it."""
    read = list(scripts)
    yield from _names_and_roles(read)
    if any(_may_set(telling_text(script), (*_DEPENDS, "time zone")) for script in read):
        yield from _settings(read)


def _settings(scripts: Iterable[Script]) -> Iterator[Finding]:
    held: dict[str, tuple[Mark, str]] = {}
    for script in scripts:
        own: set[str] = set()
        for _, statement in telling(script.statements):
            if not isinstance(statement.body, str):
                return
            where = Mark(script.file.path, statement.line)
            for part in _parts(statement.source):
                if _RESET_ALL.match(part):
                    held.clear()
                elif found := _SETTING.match(part):
                    name = (found["name"] or found["named"] or "timezone").lower()
                    own.add(name)
                    held.pop(name, None)
                    value = (found["value"] or found["config"] or "").strip()
                    if not re.fullmatch(rf"(?i)default|local|{_DEPENDS[name][0]}|", value.strip("'\"")):
                        held[name] = where, value
                for name in [one for one in held if one not in own and _DEPENDS[one][1].match(part)]:
                    place, value = held.pop(name)
                    yield Finding(place, _leaked(name, value, where, _DEPENDS[name][2]))


def _names_and_roles(scripts: Iterable[Script]) -> Iterator[Finding]:
    path: tuple[Mark, str] | None = None
    role: tuple[Mark, str] | None = None
    for script in scripts:
        if not (path or role or _may_set(telling_text(script))):
            continue
        own_path = own_role = False
        for _, statement in telling(script.statements):
            if not isinstance(statement.body, str):
                return
            for part in _parts(statement.source):
                where = Mark(script.file.path, statement.line)
                if _RESET_ALL.match(part):
                    path = role = None
                elif found := _PATH.match(part):
                    value = (found["value"] or found["config"] or "").strip()
                    own_path, path = True, (where, value) if _names_schemas(value) else None
                elif found := _ROLE.match(part):
                    value = (found["value"] or found["config"] or "").strip()
                    given = value.lower().strip("'\"") not in ("", "none", "default")
                    own_role, role = True, (where, value) if given else None
                elif path and not own_path and (named := _NAMED.match(part)):
                    yield Finding(
                        path[0], _leaked("search_path", path[1], where, f"names {named['name']} without a schema")
                    )
                    path = None
                elif role and not own_role and _CREATE.match(part):
                    yield Finding(role[0], _leaked("the role", role[1], where, "runs as the login"))
                    role = None


def _may_set(text: str, words: Iterable[str] = ("search_path", "role", "authorization")) -> bool:
    """Whether a file may set one of these: a file of many thousands of statements is not read for nothing."""
    lowered = text.lower()
    return any(word in lowered for word in words)


def _leaked(what: str, value: str, later: Mark, because: str) -> str:
    where = "put that SET into each file that needs it"
    if what == "search_path":
        where += ", or options=-csearch_path%3D<schema> into the DSN"
    return (
        f"{what} is set to {value} for this file alone; in golang-migrate it would also hold for {later}, "
        f"which {because}. To get that result, {where}"
    )


def _names_schemas(value: str) -> bool:
    """Whether a search_path names anything that is not the default."""
    names = {name.strip().strip("'\"").lower() for name in value.strip("'").split(",")}
    return bool(names - {"", "default", "public", "$user", "pg_catalog"})


def _parts(source: str) -> Iterator[str]:
    """Yield the statements of a block, or the one statement, without comments and $…$ texts."""
    for part in _ASIDE.sub(" ", source).split(";"):
        if part := part.strip():
            yield part
