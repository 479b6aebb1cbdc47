"""The record of a lint rule: code, reason, safe alternative."""

from __future__ import annotations

from orchestrator.records import dataclass

ERROR, WARN, OFF = "error", "warn", "off"
OTHERS_LOSE = ("PG107", "MY105")
"""The rules of what a plan can take from somebody even where it creates the database itself."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule. `level` is its default; a finding that may be harmless is never more than a warning.

    `lock` and `blocks` say which lock is taken and who waits, `work` what is done under it, `versions` for which servers
    it holds. `safe` are files that can be copied, by name.
    """

    code: str
    title: str
    level: str
    lock: str
    blocks: str
    work: str
    why: str
    example: str
    safe: tuple[tuple[str, str], ...] = ()
    advice: str = ""
    versions: str = "PostgreSQL 12 to 18"
