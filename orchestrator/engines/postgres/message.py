"""Send several statements in one simple-query message, and map an error back to its place in the file."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from io import BytesIO

from psycopg.pq.abc import PGresult

from orchestrator.engines.base import Limits
from orchestrator.model import Statement

# What a file has SET goes back to what the connection began with before anything of ours is written; the rest that it
# may have left in its session, temporary tables above all, goes when it is done. (DISCARD ALL would also give the
# advisory lock away.)
RESET = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL"
RESET_SESSION = f"{RESET}; DISCARD TEMP; DEALLOCATE ALL; UNLISTEN *; CLOSE ALL"
_OURS = "orch_records"  # the column of the query that stands between the statements of a file and our records


_ROLE = re.compile(
    r"\b(?:SET\s+(?:SESSION\s+|LOCAL\s+)?ROLE\s+(?:TO\s+|=\s*)?|RESET\s+ROLE\b)\s*"
    r"""(?:"((?:[^"]|"")+)"|'([^']+)'|(\w+))?""",
    re.IGNORECASE,
)


def _role(match: re.Match[str]) -> str | None:
    quoted, text, word = match.groups("")
    role = quoted.replace('""', '"') or text or word.lower()
    return role if role not in ("", "none") else None


class Message:
    """A text of several statements that knows which part of it came from where in the file."""

    def __init__(self, text: str, *, after_file: bool = False) -> None:
        """`after_file`: statements of the file were in an earlier message of the same transaction."""
        self._texts: list[str] = []  # one text that grows would be copied for each of a file's many statements
        self._length = 0
        self._before = 0  # statements of ours before the first of the file
        self._statements: list[Statement] = []
        self._starts = array("q")  # where each begins; a file may have hundreds of thousands
        self._after_file = after_file
        self.committed = False  # something follows its COMMIT whose failure does not matter
        self.put(text)

    @property
    def text(self) -> str:
        """The whole message."""
        return "".join(self._texts)

    def encoded(self) -> bytes:
        """Return the whole message as it is sent, without a copy of all of it as text."""
        data = BytesIO()
        for text in self._texts:
            data.write(text.encode())
        return data.getvalue()

    @property
    def has_statements(self) -> bool:
        """Whether statements of a file are part of it."""
        return self._after_file or bool(self._statements)

    def put(self, text: str) -> None:
        """Put SQL of ours at the end, each statement with its semicolon."""
        self._texts.append(text)
        self._length += len(text)

    def add(self, statement: Statement, terminator: str = "\n;\n", body: str = "") -> None:
        """Put a statement of the file at the end, or another text in its place."""
        if not self._statements:
            self._before = self.text.count(";")
        self._statements.append(statement)
        self._starts.append(self._length)
        self.put(body or statement.body)
        self.put(terminator)

    def put_checks(self, conditions: Sequence[tuple[str, str]]) -> None:
        """Put the query at the end that fails with the marker of the first condition that is not true; what follows is ours."""
        # There is no setting of a marker's name: the server's error names it.
        cases = " ".join(
            f"WHEN ({condition}) IS NOT TRUE THEN pg_catalog.current_setting('{marker}')::boolean"
            for condition, marker in conditions
        )
        self.put(f"SELECT CASE {cases} ELSE true END AS {_OURS}; ")

    def role(self, failing: Statement) -> str | None:
        """Return the role that the file has set when this statement runs, None for the login's own."""
        texts = []
        for statement in self._statements:
            texts += [statement.settings, statement.opening]
            if statement is failing:
                break
            texts.append(statement.body)
        before = [_role(match) for match in _ROLE.finditer("".join(f"{text};" for text in texts))]
        # Of a whole block it is not known which of its statements failed: hardly one after it gave the role back.
        within = [role for match in _ROLE.finditer(failing.body) if (role := _role(match))]
        return [None, *before, *within][-1]

    def find(self, character: str) -> tuple[Statement, int] | None:
        """Return the first statement that holds a character, and the offset in it."""
        for statement in self._statements:
            if (offset := statement.source.find(character)) >= 0:
                return statement, offset
        return None

    def naming(self, table: str) -> tuple[Statement, int] | None:
        """Return the statement that names a table and the offset in it, if exactly one does."""
        name = re.compile(rf"(?<!\w){re.escape(table.rpartition('.')[2])}(?!\w)", re.IGNORECASE)
        found = [
            (statement, match.start()) for statement in self._statements if (match := name.search(statement.source))
        ]
        return found[0] if len(found) == 1 else None

    def place(self, results: Sequence[PGresult], position: str | None) -> tuple[Statement, int | None] | None:
        """Return the failing statement and the offset in it.

        The server tells a position (from 1, in the whole message) for some errors only; `results` are of the statements
        that succeeded before. None: it was one of ours, after those of the file.
        """
        if position is not None:
            offset = int(position) - 1
            for start, statement in zip(reversed(self._starts), reversed(self._statements), strict=True):
                if start <= offset <= start + len(statement.body):
                    put_before = len(statement.body) - len(statement.source)  # a SET TRANSACTION of ours
                    return statement, max(0, offset - start - put_before)
            return None
        if any(result.nfields and result.fname(0) == _OURS.encode() for result in results):
            return None
        # A part alone may be a whole BEGIN … COMMIT block; of several each is one statement.
        index = 0 if len(self._statements) == 1 else len(results) - self._before
        return (self._statements[index], None) if 0 <= index < len(self._statements) else None


def set_limits(command: str, limits: Limits) -> str:
    """Return SET statements; a limit of 0 means none, and lifts what role and database set; one of None leaves that."""
    parts = []
    if limits.lock_timeout is not None:
        parts.append(f"{command} lock_timeout = {round(limits.lock_timeout * 1000)}; ")
    if limits.statement_timeout is not None:
        parts.append(f"{command} statement_timeout = {round(limits.statement_timeout * 1000)}; ")
    return "".join(parts)
