"""Continue a file in smaller pieces if the server cannot run it in one transaction, and report that."""

from __future__ import annotations

from orchestrator.engines.base import Session
from orchestrator.errors import StatementError, TransactionRefusedError
from orchestrator.model import Script, Statement


class SmallerPieces:
    """Remembers, for the files of one database, what cannot be done in one transaction.

    A whole file goes on statement by statement, each committed with its record. A statement that even alone is too much goes
    on without a transaction, if it can be made again after it was cut off.
    """

    def __init__(self) -> None:
        self._apart: set[int] = set()
        self._outside: set[tuple[int, int]] = set()

    def commits_together(self, session: Session, version: int, script: Script) -> bool:
        """Whether the file of a version is tried as one transaction."""
        return version not in self._apart and session.commits_together(script)

    def commits(self, session: Session, version: int, statement: Statement) -> bool:
        """Whether a statement is tried as a transaction with its record."""
        return (version, statement.offset) not in self._outside and session.commits(statement)

    def go_on(self, session: Session, version: int, script: Script, error: StatementError, *, exhausted: bool) -> str:
        """Return a sentence that says how the file continues after this error; '' if it does not continue.

        `exhausted`: the error is a transient one, and all retries failed. Then only a statement that can be repeated continues.
        """
        statement = error.statement
        repeatable = statement is not None and statement.repeatable
        too_much = isinstance(error, TransactionRefusedError) and not error.outside
        if not (too_much or (error.transient and exhausted and repeatable)):
            return ""
        first = script.statements[0]
        if self.commits_together(session, version, script) and (
            len(script.statements) > 1 or not session.commits(first)
        ):
            self._apart.add(version)
            if statement is not None and repeatable:
                self._outside.add((version, statement.offset))
            return "the file continues statement by statement"
        if statement is None or not repeatable or not self.commits(session, version, statement):
            return ""
        self._apart.add(version)
        self._outside.add((version, statement.offset))
        return "the statement runs without a transaction, because it can safely be repeated"
