"""The result of `orch verify` as text and as a JSON document, made from its events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator import events
from orchestrator.events import Event, Failure, Verified
from orchestrator.views.table import counted, table

FORMAT = 1


@dataclass
class _Entry:
    result: str = "verified"
    migrations: list[Verified] = field(default_factory=list)
    error: Failure | None = None


class VerifyView:
    """Collect results; the document is complete even if the run was stopped."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._run: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        """Take one event; may be called from any thread (each touches its own database only)."""
        match event:
            case events.RunStarted(_, databases):
                self._entries = {id: _Entry() for id in databases}
            case events.Verified(id):
                self._entries[id].migrations.append(event)
                if event.failure:
                    self._entries[id].result = "failed"
            case events.DatabaseFailed(id, failure):
                self._entries[id].result, self._entries[id].error = "failed", failure
            case events.DatabaseSkipped(id):
                self._entries[id].result = "skipped"
            case events.RunFinished(run_id, seconds, code):
                self._run = {"run_id": run_id, "seconds": round(seconds, 3), "exit_code": code}
            case _:
                pass

    @property
    def failures(self) -> list[tuple[str, Failure]]:
        """The failures, with the id of their database."""
        found = []
        for id, entry in self._entries.items():
            found += [(id, one.failure) for one in entry.migrations if one.failure]
            found += [(id, entry.error)] if entry.error else []
        return found

    def text(self) -> str:
        """Return a line for each database."""
        return table(("DATABASE", "RESULT"), [(id, _said(entry)) for id, entry in self._entries.items()])

    def document(self) -> dict[str, Any]:
        """Return everything as data."""
        entries = []
        for id, entry in self._entries.items():
            document: dict[str, Any] = {"id": id, "result": entry.result}
            document["migrations"] = [_migration(one) for one in sorted(entry.migrations, key=lambda one: one.version)]
            entries.append(document | ({"error": entry.error.document()} if entry.error else {}))
        return {"format": FORMAT, **self._run, "databases": entries}


def _said(entry: _Entry) -> str:
    good = sum(_result(one) == "verified" for one in entry.migrations)
    bad = sum(_result(one) == "failed" for one in entry.migrations)
    left_out = len(entry.migrations) - good - bad
    if entry.result == "skipped":
        return f"stopped after {counted(good, 'migration')}"
    parts = [f"stopped by an error after {counted(good, 'migration')}"] if entry.error else []
    parts += [f"{bad} of {counted(len(entry.migrations), 'migration')}"] if bad else []
    parts += [f"{counted(good, 'migration')} up, down, up"] if not parts else []
    parts += [f"{left_out} skipped"] if left_out else []
    return f"{'verified' if entry.result == 'verified' else 'FAILED'}: {', '.join(parts)}"


def _result(one: Verified) -> str:
    return "failed" if one.failure else "left_out" if one.left_out else "verified"


def _migration(one: Verified) -> dict[str, Any]:
    document = {"version": one.version, "name": one.name, "result": _result(one), "seconds": round(one.seconds, 3)}
    if one.failure:
        document["error"] = one.failure.document()
    if one.left_out:
        document["reason"] = one.left_out
    return document


def verify_text(view: VerifyView) -> str:
    """Return what the view has gathered, for people."""
    return view.text()


def verify_document(view: VerifyView) -> dict[str, Any]:
    """Return what the view has gathered, for machines."""
    return view.document()
