"""What a statement really did when it ran in a scratch database, held against what the lint rules say of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.analysis.findings import Finding
from orchestrator.model import Measured
from orchestrator.records import dataclass

STOPS_WRITERS = ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")
_LONG = ("PG201", "PG202", "PG203", "PG204", "PG205", "PG206", "PG207")  # what they tell is work under a lock
_WRITES_ROWS = ("INSERT", "UPDATE", "DELETE", "SELECT", "WITH", "COPY", "MERGE")


@dataclass(frozen=True, slots=True)
class Compared:
    """A statement as it is told: its place, its text, what it did, what the rules say, and where these differ.

    `missed` are tables that were in use, and were rewritten or read under a lock that stops writers, of which no rule
    tells; `in_vain` are codes of rules that tell of such work, which did not happen.
    """

    path: str
    line: int
    source: str
    measured: Measured
    codes: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    in_vain: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the rules say what happened."""
        return not (self.missed or self.in_vain)


def compare(path: str, line: int, source: str, measured: Measured, findings: Sequence[Finding]) -> Compared:
    """Return how what was measured differs from the findings of the same statement; what the plan makes is harmless."""
    codes = tuple(dict.fromkeys(finding.code for finding in findings))
    long = [finding for finding in findings if finding.code in _LONG]
    held = {table for table, mode in measured.locks if mode in STOPS_WRITERS}
    work = {table for table in (*measured.rewritten, *measured.read) if table in measured.old and table in held}
    if measured.error or measured.polled or source.lstrip()[:6].upper().startswith(_WRITES_ROWS):
        return Compared(path, line, source, measured, codes)
    emptied = any(code in ("PG105", "PG504") for code in codes)  # its new file is empty
    missed = tuple(sorted(work)) if work and not long and not emptied else ()
    in_vain = tuple(finding.code for finding in long if not finding.maybe) if long and not work else ()
    return Compared(path, line, source, measured, codes, missed, tuple(dict.fromkeys(in_vain)))
