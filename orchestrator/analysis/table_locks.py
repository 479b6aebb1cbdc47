"""Which old tables the statements of one transaction lock so that writers, or readers too, wait until it commits."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

_NAME = r'(?:"[^"]*"|[^\s"(),.;]+)'
_TABLE = rf"{_NAME}(?:\.{_NAME})?"
_LIST = rf"(?:ONLY )?{_TABLE} ?\*?(?: ?, ?(?:ONLY )?{_TABLE} ?\*?)*"
# These take SHARE UPDATE EXCLUSIVE or less on the table that is named, if a statement does nothing else.
_WEAK = (
    rf"VALIDATE CONSTRAINT {_NAME}|ALTER (?:COLUMN )?{_NAME} SET STATISTICS \S+|CLUSTER ON {_NAME}|SET WITHOUT CLUSTER"
    rf"|(?:RE)?SET ?\([^()]*\)|ATTACH PARTITION .*|DETACH PARTITION {_TABLE} CONCURRENTLY"
)
_STRONG = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?(?P<tables>{_TABLE}) ?\*? (?!(?:{_WEAK})(?: ?, ?(?:{_WEAK}))*$)",
        rf"TRUNCATE (?:TABLE )?(?P<tables>{_LIST})",
        rf"LOCK (?:TABLE )?(?P<tables>{_LIST})(?: IN (?:(?:ACCESS |SHARE ROW )?EXCLUSIVE) MODE\b| NOWAIT|$)",
        rf"CREATE (?:OR REPLACE )?(?:CONSTRAINT )?TRIGGER\b.*? ON (?P<tables>{_TABLE})",
        rf"(?:CREATE|ALTER) POLICY {_NAME} ON (?P<tables>{_TABLE})",
        rf"CREATE (?:OR REPLACE )?RULE\b.*? TO (?P<tables>{_TABLE})",
        rf"(?:DROP|ALTER) (?:TRIGGER|POLICY|RULE) (?:IF EXISTS )?{_NAME} ON (?P<tables>{_TABLE})",
        rf"REFRESH MATERIALIZED VIEW (?!CONCURRENTLY\b)(?P<tables>{_TABLE})",
    )
)
# A foreign key locks both tables, as CREATE TRIGGER does.
_REFERENCES = re.compile(rf"\bREFERENCES (?P<tables>{_TABLE})", re.IGNORECASE)
_MAKES_REFERENCES = re.compile(r"(?:CREATE (?:UNLOGGED )?TABLE|ALTER TABLE)\b", re.IGNORECASE)


def strongly_locked(statement: str) -> Iterator[str]:
    """Yield the tables that a statement locks in SHARE ROW EXCLUSIVE mode or a stronger one, as their names stand in it.

    The statement has one space between its words, and neither comments nor texts. A table that it drops is not
    yielded: no running program should use that one.
    """
    for pattern in _STRONG:
        if found := pattern.match(statement):
            yield from _names(found["tables"])
    if _MAKES_REFERENCES.match(statement):
        for found in _REFERENCES.finditer(statement):
            yield from _names(found["tables"])


def _names(listed: str) -> Iterator[str]:
    for name in re.findall(rf"(?:ONLY )?({_TABLE})", listed, re.IGNORECASE):
        if name != "*":
            yield name


def told(tables: Collection[str]) -> str:
    """Return what a plan says of a transaction that locks these tables."""
    return (
        f"locks {len(tables)} tables until it commits ({', '.join(tables)}): it waits for one while it stops "
        "the others, and can deadlock; one file for each table is safer"
    )
