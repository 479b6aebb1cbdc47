"""What a session intends: the statement that it is about to run, and what its record says of it.

The intent of a statement is recorded before it runs, with a fingerprint of what the statement names (`probe`). After a kill,
the fingerprint tells what became of the statement. During a run it also makes some records unnecessary: see `tells_progress`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.engines.base import Effect
from orchestrator.engines.mysql.probe import Fingerprint, Intent
from orchestrator.model import Attempt, Statement


class Intents:
    """The intent of one session, at most one at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._intent: Intent | None = None

    @property
    def source(self) -> str | None:
        """The text of the intended statement; None: there is none."""
        return self._intent.source if self._intent else None

    def of(self, statement: Statement) -> Intent | None:
        """Return the intent of this statement; None if it has none."""
        return self._intent if self.source == statement.source else None

    def resume(self, statement: Statement, before: Fingerprint | None) -> None:
        """Take over the intent that an earlier session recorded, with its fingerprint."""
        self._intent = Intent(statement, before)

    def forget(self) -> None:
        """Forget the intent: what became of its statement is recorded."""
        self._intent = None

    def probe(self, statement: Statement) -> tuple[Effect, str]:
        """Find out what became of a statement; the first time before it runs, when it has done nothing yet."""
        intent = self.of(statement)
        if intent is None:
            intent = self._intent = Intent(statement)
            intent.take(self._connection)
            if intent.change is None:
                return Effect.UNKNOWN, "the server keeps no trace of whether it was done"
            return Effect.NOT_DONE, "it has not run yet"
        if statement.repeatable:
            return Effect.NOT_DONE, "it can be made again with the same end"
        return intent.verdict(self._connection)

    def recorded_with(self, attempt: Attempt) -> str | None:
        """Return the fingerprint to record with this attempt; None: leave the one that is recorded."""
        if not attempt.in_flight:
            return ""
        return self._intent.stored() if self._intent and self._intent.before is not None else None

    def tells_progress(self, attempts: Sequence[Attempt]) -> bool:
        """Whether these records only say that a statement is done and its file continues. The next intent can include that.

        Until that intent is written, what the database shows tells that the statement is done, as it does after a kill
        between the end of a statement and its record.
        """
        if len(attempts) != 1 or not self._intent or not self._intent.tells_its_end:
            return False
        (one,) = attempts
        return not one.done and not one.in_flight and not one.error and one.applied < one.total
