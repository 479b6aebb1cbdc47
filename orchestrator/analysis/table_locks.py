"""Find transactions that lock several existing tables, so that other sessions wait until the commit."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress

from orchestrator.model import Script, Statement, telling, telling_text
from orchestrator.patterns import regex

_NAME = r'(?:"[^"]*"|[^\s"(),.;]+)'
_TABLE = rf"{_NAME}(?:\.{_NAME})?"
_LIST = rf"(?:ONLY )?{_TABLE} ?\*?(?: ?, ?(?:ONLY )?{_TABLE} ?\*?)*"
# These take SHARE UPDATE EXCLUSIVE or less on the table that is named, if a statement does nothing else.
_WEAK = (
    rf"VALIDATE CONSTRAINT {_NAME}|ALTER (?:COLUMN )?{_NAME} SET STATISTICS \S+|CLUSTER ON {_NAME}|SET WITHOUT CLUSTER"
    rf"|(?:RE)?SET ?\([^()]*\)|ATTACH PARTITION .*|DETACH PARTITION {_TABLE} CONCURRENTLY"
)
_STRONG_PATTERNS = (
    rf"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?(?P<tables>{_TABLE}) ?\*? (?!(?:{_WEAK})(?: ?, ?(?:{_WEAK}))*$)",
    rf"TRUNCATE (?:TABLE )?(?P<tables>{_LIST})",
    rf"LOCK (?:TABLE )?(?P<tables>{_LIST})(?: IN (?:(?:ACCESS |SHARE ROW )?EXCLUSIVE) MODE\b| NOWAIT|$)",
    rf"CREATE (?:OR REPLACE )?(?:CONSTRAINT )?TRIGGER\b.*? ON (?P<tables>{_TABLE})",
    rf"(?:CREATE|ALTER) POLICY {_NAME} ON (?P<tables>{_TABLE})",
    rf"CREATE (?:OR REPLACE )?RULE\b.*? TO (?P<tables>{_TABLE})",
    rf"(?:DROP|ALTER) (?:TRIGGER|POLICY|RULE) (?:IF EXISTS )?{_NAME} ON (?P<tables>{_TABLE})",
    rf"REFRESH MATERIALIZED VIEW (?!CONCURRENTLY\b)(?P<tables>{_TABLE})",
)
_STRONG = tuple(regex(pattern, re.IGNORECASE) for pattern in _STRONG_PATTERNS)
_RENAMES = regex(
    rf"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?(?P<old>{_TABLE}) ?\*? RENAME TO (?P<new>{_NAME})", re.IGNORECASE
)
# A foreign key locks both tables, as CREATE TRIGGER does.
_REFERENCES_PATTERN = rf"\bREFERENCES (?P<tables>{_TABLE})"
_REFERENCES = regex(_REFERENCES_PATTERN, re.IGNORECASE)
_MAKES_REFERENCES = regex(r"(?:CREATE (?:UNLOGGED )?TABLE|ALTER TABLE)\b", re.IGNORECASE)

_ASIDE = regex(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", re.DOTALL)  # comments and texts
_HAS_ASIDE = regex(r"--|/\*|['$]")
_QUOTED = regex(r'"((?:[^"]|"")*)"')
_KEYWORDS = frozenset(re.findall(r"[A-Z]{2,}", " ".join((*_STRONG_PATTERNS, _REFERENCES_PATTERN))))
_WORDS = ("alter", "truncate", "lock", "trigger", "policy", "rule", "refresh", "references")
_TELLING = regex(rf"\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)
_HEAD = 80  # characters in which a comment could part the words by which a statement begins
_COMMENT = regex(r"--|/\*")
_LOCKS = regex(
    r"(?:ALTER\s+(?:TABLE|POLICY|TRIGGER|RULE)|TRUNCATE|LOCK|REFRESH|DROP\s+(?:TRIGGER|POLICY|RULE)"
    r"|CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?(?:TRIGGER|POLICY|RULE))\b",
    re.IGNORECASE,
)
_CREATES_TABLE = regex(r"CREATE\s+(?:UNLOGGED\s+)?TABLE\b", re.IGNORECASE)
_NAMES_SEVERAL = regex(r"(?:TRUNCATE|LOCK)\b", re.IGNORECASE)
_WITH_BODY = regex(r"CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE|RULE)\b", re.IGNORECASE)


def locked_together(script: Script, is_new: Callable[[str], bool]) -> Iterator[tuple[int, str]]:
    """Yield the number of the statement where a transaction strongly locks a second old table, and what to say of it."""
    lowered = telling_text(script).lower()  # most files have none of these words: that is soon known
    if not any(word in lowered for word in _WORDS):
        return
    candidates = [statement for _, statement in telling(script.statements) if _may_lock(statement)]
    if all(map(_locks_one, candidates)) and (len(candidates) < 2 or not script.atomic):
        return
    together: dict[str, None] = {}
    second: int | None = None
    lockers = 0  # statements that lock an old table; what one has to lock for its foreign keys cannot be parted
    renames = "rename" in lowered
    names, finally_ = _Names(), _Names()
    if renames:
        for statement in candidates:
            for part in _parts(statement.source):
                finally_.follow(part)
    for number, statement in telling(script.statements):
        if not script.atomic:  # a block of several statements, or one alone
            together, second, lockers = {}, None, 0
        for part in _parts(statement.source) if _may_lock(statement) else ():
            named, referenced = (
                {names.first(_shown(_plain(table))): None for table in tables} for tables in _strongly_locked(part)
            )
            old = {table: None for table in (named | referenced) if not is_new(finally_.last(table))}
            if renames:
                names.follow(part)
            together |= old
            lockers += bool(old) + (sum(table in old for table in named) > 1)
            if len(together) > 1 and lockers > 1 and second is None:
                second = number
        if second is not None and not script.atomic:
            yield second, told(together)
    if second is not None and script.atomic:
        yield second, told(together)


class _Names:
    """Which table a name means, where the file renames tables: each is known by the name that it had first."""

    def __init__(self) -> None:
        self._firsts: dict[str, str] = {}
        self._lasts: dict[str, str] = {}

    def first(self, name: str) -> str:
        """Return the first name of the table that has this name now."""
        return self._firsts.get(name, name)

    def last(self, first: str) -> str:
        """Return the name that the table has now."""
        return self._lasts.get(first, first).strip()

    def follow(self, statement: str) -> None:
        """Rename a table, if the statement does."""
        if found := _RENAMES.match(statement):
            old, new = _shown(_plain(found["old"])), _shown(_plain(found["new"]))
            schema = old.rpartition(".")[0]
            new = f"{schema}.{new}" if schema else new
            table = self.first(old)
            self._firsts[old] = f"{old} "  # another table, if the file makes one of this name now
            self._firsts[new] = table
            self._lasts[table] = new


def _may_lock(statement: Statement) -> bool:
    """Whether a statement may be one of those below, by its first words and those that it holds: most are none."""
    source = statement.source
    if _is_several(statement) or _COMMENT.search(source, 0, _HEAD):
        return _TELLING.search(source) is not None
    if _LOCKS.match(source):
        return True
    return _CREATES_TABLE.match(source) is not None and "references" in source.lower()


def _is_several(statement: Statement) -> bool:
    """Whether a statement may be a block of several, which runs as one."""
    return statement.block and ";" in statement.source


def _locks_one(statement: Statement) -> bool:
    """Whether a statement, by its first words, is no block and works on one table: TRUNCATE and LOCK may name several."""
    return not _is_several(statement) and not _NAMES_SEVERAL.match(statement.source)


def _parts(source: str) -> Iterable[str]:
    """Return the statements of a source, which are several where it is a block, without comments and texts."""
    if _HAS_ASIDE.search(source):
        source = _ASIDE.sub(" ", source)
    if '"' in source:
        source = _QUOTED.sub(_name_only, source)
    text = " ".join(source.split())
    return [text] if _WITH_BODY.match(text) else map(str.strip, text.split(";"))


def _name_only(found: re.Match[str]) -> str:
    """Return a quoted name without anything that could be taken for SQL; the same name always gives the same."""
    name = found[1]
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name.upper() not in _KEYWORDS
    return found[0] if plain else f'"x{name.encode().hex()}"'


def _plain(table: str) -> str:
    return table.replace('"', "").lower().removeprefix("public.")


def _shown(table: str) -> str:
    """Return a table's name as people know it: `_name_only` has written some in hexadecimal digits."""
    return re.sub(r"\bx((?:[0-9a-f]{2})+)\b", lambda found: _decoded(found[1]) or found[0], table)


def _decoded(digits: str) -> str:
    with suppress(ValueError):
        name = bytes.fromhex(digits).decode()
        return f'"{name}"' if name.isprintable() else ""
    return ""


def _strongly_locked(statement: str) -> tuple[list[str], list[str]]:
    """Return the tables that a statement locks in SHARE ROW EXCLUSIVE mode or a stronger one, as their names stand in it.

    First those on which it works, then those to which its foreign keys refer. The statement has one space between its
    words, and neither comments nor texts. A table that it drops is not among them: no running program should use it.
    """
    named = [name for pattern in _STRONG if (found := pattern.match(statement)) for name in _names(found["tables"])]
    if not _MAKES_REFERENCES.match(statement):
        return named, []
    return named, [name for found in _REFERENCES.finditer(statement) for name in _names(found["tables"])]


def _names(listed: str) -> Iterator[str]:
    for name in re.findall(rf"(?:ONLY )?({_TABLE})", listed, re.IGNORECASE):
        if name != "*":
            yield name


def told(tables: Collection[str]) -> str:
    """Return what a plan says of a transaction that locks these tables."""
    return (
        f"locks {len(tables)} tables until it commits ({', '.join(table.strip() for table in tables)}): it waits for one table "
        "while it blocks the others, and can deadlock; a file of its own for each statement is safer"
    )
