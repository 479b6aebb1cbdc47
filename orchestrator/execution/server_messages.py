"""Pass on what a server says while a file runs, such as NOTICEs, but not without bound."""

from __future__ import annotations

from orchestrator.engines.base import MAX_MESSAGES, Session
from orchestrator.events import MAX_WHAT, ServerMessage
from orchestrator.execution.run import Run
from orchestrator.secret import hidden


class ServerMessages:
    """The messages of one database: of each file the first MAX_MESSAGES warnings, and as many others."""

    def __init__(self, run: Run, id: str) -> None:
        self._run = run
        self._id = id
        self._told: dict[tuple[int, bool], int] = {}  # (version, whether it is a WARNING) → how many there were

    def pass_on(self, session: Session, version: int, file: str) -> None:
        """Tell the sink what came since the last call. `version` is of the migration whose `file` runs."""
        for severity, text in session.messages():
            kind = version, severity == "WARNING"
            told = self._told[kind] = self._told.get(kind, 0) + 1
            if told <= MAX_MESSAGES:
                said = hidden(text, MAX_WHAT, self._run.redact)
                self._run.sink(ServerMessage(self._id, version, file, severity, said))
            elif told == MAX_MESSAGES + 1:
                said = f"further messages of this file are not shown (more than {MAX_MESSAGES})"
                self._run.sink(ServerMessage(self._id, version, file, severity, said))
