"""The result of `orch lint` as data for views."""

from __future__ import annotations

from orchestrator.analysis.findings import Finding
from orchestrator.model import Size
from orchestrator.records import dataclass


@dataclass(frozen=True, slots=True)
class Told:
    """A finding as it is told: of which database, how grave, the line of the file, and how large its table is, if known."""

    database: str
    level: str
    finding: Finding
    line: str = ""
    size: Size | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, in the order of databases and files, and of how many files. `allowed` are those with a permission."""

    findings: tuple[Told, ...]
    databases: int
    files: int
    allowed: int = 0

    def count(self, level: str) -> int:
        """Return how many findings are of this level."""
        return sum(told.level == level for told in self.findings)
