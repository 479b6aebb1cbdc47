"""Output for GitLab beside JUnit: a code quality report for merge requests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from orchestrator import events
from orchestrator.events import Event, Failure
from orchestrator.views.document import json_text


@dataclass
class CodeQualityView:
    """Gathers one finding for every failure; those without a place stand at the manifest."""

    manifest: str
    located: Callable[[str], str]
    _findings: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Take one event; may be called from any thread."""
        match event:
            case events.Refused(failure):
                self._add("", failure)
            case events.DatabaseFailed(id, failure):
                self._add(id, failure)
            case _:
                pass

    def text(self) -> str:
        """Return the report."""
        return json_text(self._findings, indent=2) + "\n"

    def _add(self, database: str, failure: Failure) -> None:
        place = failure.where
        path = self.located(place.path) if place else self.manifest
        facts = json.dumps([database, failure.kind, str(place or ""), failure.what])
        self._findings.append(
            {
                "description": ": ".join(filter(None, [database, failure.what])),
                "check_name": f"orch/{failure.kind}",
                "fingerprint": hashlib.sha256(facts.encode()).hexdigest(),
                "severity": "blocker" if failure.kind in ("conflict", "internal") else "critical",
                "location": {"path": path, "lines": {"begin": (place.line or 1) if place else 1}},
            }
        )
