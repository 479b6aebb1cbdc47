"""One simple-query message: several statements, one round trip, and the way back from an error to the file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from psycopg.pq.abc import PGresult

from orchestrator.engines.base import Limits
from orchestrator.model import Statement

# Everything that a file may have set in its session goes back to what the connection began with. (DISCARD ALL would
# also give the advisory lock away.)
RESET = "RESET SESSION AUTHORIZATION; RESET ALL"
RESET_SESSION = f"{RESET}; DISCARD TEMP; DEALLOCATE ALL; UNLISTEN *; CLOSE ALL"


class Message:
    """A text of several statements that knows which part of it came from where in the file."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._before = text.count(";")  # statements of ours before the first of the file
        self._parts: list[tuple[int, Statement]] = []

    def add(self, statement: Statement, terminator: str = "\n;\n") -> None:
        """Put a statement of the file at the end."""
        self._parts.append((len(self.text), statement))
        self.text += statement.body + terminator

    def place(self, results: Sequence[PGresult], position: str | None) -> tuple[Statement, int | None] | None:
        """Return the failing statement and the offset in it.

        The server tells a position (from 1, in the whole message) for some errors only; `results` are of the statements
        that succeeded before. None: it was one of ours, after those of the file.
        """
        if position is not None:
            offset = int(position) - 1
            for start, statement in reversed(self._parts):
                if start <= offset <= start + len(statement.body):
                    put_before = len(statement.body) - len(statement.source)  # a SET TRANSACTION of ours
                    return statement, max(0, offset - start - put_before)
            return None
        index = len(results) - self._before
        if len(self._parts) == 1:  # which may be a whole BEGIN … COMMIT block; our first words after it are two RESETs
            tags = [result.command_status for result in results]
            index = int(any(pair == (b"RESET", b"RESET") for pair in pairwise(tags)))
        return (self._parts[index][1], None) if 0 <= index < len(self._parts) else None


def set_limits(command: str, limits: Limits) -> str:
    """Return SET statements; a limit of None or 0 means none, and is set too, so that the server's default is not."""
    parts = []
    if limits.lock_timeout is not None:
        parts.append(f"{command} lock_timeout = {round(limits.lock_timeout * 1000)}; ")
    if limits.statement_timeout is not None:
        parts.append(f"{command} statement_timeout = {round(limits.statement_timeout * 1000)}; ")
    return "".join(parts)
