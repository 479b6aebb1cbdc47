"""Send several statements in one simple-query message, and map an error back to its place in the file."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import islice

from psycopg.pq.abc import PGresult

from orchestrator.engines.base import Limits
from orchestrator.model import Inserts, Statement

# What a file has SET goes back to what the connection began with before anything of ours is written; the rest that it
# may have left in its session, temporary tables above all, goes when it is done. (DISCARD ALL would also give the
# advisory lock away.)
RESET = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL"
RESET_SESSION = f"{RESET}; DISCARD TEMP; DEALLOCATE ALL; UNLISTEN *; CLOSE ALL"
_OURS = "orch_records"  # the column of the query that stands between the statements of a file and our records


_FULL = 2 * 1024 * 1024
"""Characters. A larger message would only cost memory, for itself and for what the server says of each statement."""
_ROLE = re.compile(
    r"\b(?:SET\s+(?:SESSION\s+|LOCAL\s+)?ROLE\s+(?:TO\s+|=\s*)?|RESET\s+ROLE\b)\s*"
    r"""(?:"((?:[^"]|"")+)"|'([^']+)'|(\w+))?""",
    re.IGNORECASE,
)


def _role(match: re.Match[str]) -> str | None:
    quoted, text, word = match.groups("")
    role = quoted.replace('""', '"') or text or word.lower()
    return role if role not in ("", "none") else None


def _is_check(result: PGresult) -> bool:
    return bool(result.nfields) and result.fname(0) == _OURS.encode()


class _Slice:
    """Some of a run of INSERTs, as they stand in the file: those from the number `first` to the one before `end`."""

    def __init__(self, inserts: Inserts, first: int, end: int) -> None:
        self._inserts, self._first, self._end = inserts, first, end

    def __len__(self) -> int:
        return self._end - self._first

    def __iter__(self) -> Iterator[Statement]:
        return self._inserts.between(self._first, self._end)

    @property
    def text(self) -> str:
        """The text of all, without the last semicolon."""
        return self._inserts.text[self._inserts.starts[self._first] : self._inserts.ends[self._end - 1]]

    def at(self, offset: int) -> tuple[Statement, int] | None:
        """Return the statement that stands at an offset of the text, and the offset in it; None behind the text."""
        offset += self._inserts.starts[self._first]
        number = bisect_right(self._inserts.starts, offset, self._first, self._end) - 1
        statement = self._inserts.at(number)
        within = offset - statement.offset
        if number + 1 == self._end and within > len(statement.source):
            return None
        return statement, min(within, len(statement.source))

    def holds(self, statement: Statement) -> bool:
        """Whether the statement is one of these."""
        return self._inserts.starts[self._first] <= statement.offset < self._inserts.ends[self._end - 1]


class Message:
    """A text of several statements that knows which part of it came from where in the file."""

    def __init__(self, text: str, *, after: Message | None = None) -> None:
        """`after` is the message before this one in the same transaction."""
        self._texts: list[str] = []  # one text that grows would be copied for each of a file's many statements
        self._length = 0
        self._before = 0  # statements of ours before the first of the file
        self._parts: list[Statement | _Slice] = []
        self._starts: list[int] = []  # where each begins
        self._after_file = after is not None and after.has_statements
        self._earlier = after._last_role() if after is not None else None
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
        """Whether statements of a file are part of it, or of a message before it in the same transaction."""
        return self._after_file or bool(self._parts)

    @property
    def is_full(self) -> bool:
        """Whether it is large enough to be sent before more of the file is added."""
        return self._length >= _FULL

    def put(self, text: str) -> None:
        """Put SQL of ours at the end, each statement with its semicolon."""
        self._texts.append(text)
        self._length += len(text)

    def add(self, statement: Statement, terminator: str = "\n;\n", body: str = "") -> None:
        """Put a statement of the file at the end, or another text in its place."""
        self._begin(statement)
        self.put(body or statement.body)
        self.put(terminator)

    def add_inserts(self, inserts: Inserts, first: int) -> int:
        """Put statements of a run at the end, from the number `first` on, as many as it takes; return the number behind them."""
        end = max(first + 1, bisect_left(inserts.starts, inserts.starts[first] + _FULL - self._length))
        slice_ = _Slice(inserts, first, end)
        self._begin(slice_)
        self.put(slice_.text)
        self.put("\n;\n")
        return end

    def _begin(self, part: Statement | _Slice) -> None:
        if not self._parts:
            self._before = self.text.count(";")
        self._parts.append(part)
        self._starts.append(self._length)

    def _statements(self) -> Iterator[Statement]:
        for part in self._parts:
            yield from part if isinstance(part, _Slice) else (part,)

    def put_checks(self, conditions: Sequence[tuple[str, str]], source: str = "") -> None:
        """Put the query at the end that fails with the marker of the first condition that is not true; what follows is ours.

        `source` is a FROM clause, if the conditions name its columns.
        """
        # There is no setting of a marker's name: the server's error names it.
        cases = " ".join(
            f"WHEN ({condition}) IS NOT TRUE THEN pg_catalog.current_setting('{marker}')::boolean"
            for condition, marker in conditions
        )
        self.put(f"SELECT CASE {cases} ELSE true END AS {_OURS}{source}; ")

    def is_committed(self, results: Sequence[PGresult]) -> bool:
        """Whether these results tell that its own COMMIT is done, and only what follows that failed."""
        # Another COMMIT may stand before the file, and none between our checks and ours.
        checks = next((n for n, result in enumerate(results) if _is_check(result)), len(results))
        return self.committed and any(result.command_status == b"COMMIT" for result in results[checks:])

    def role(self, failing: Statement) -> str | None:
        """Return the role that the file has set when this statement runs, None for the login's own."""
        before = self._last_role(failing)
        # Of a whole block it is not known which of its statements failed: hardly one after it gave the role back.
        within = [role for match in _ROLE.finditer(failing.body) if (role := _role(match))]
        return [before, *within][-1]

    def _last_role(self, before: Statement | None = None) -> str | None:
        """Return the role that is set at the end of the message, or when this statement of it begins."""
        texts: list[str] = []
        for part in self._parts:
            if isinstance(part, _Slice):
                if before is not None and part.holds(before):
                    break
                continue  # it sets none
            texts += [part.settings, part.opening]
            if part is before:
                break
            texts.append(part.body)
        return [self._earlier, *(_role(match) for match in _ROLE.finditer("".join(f"{text};" for text in texts)))][-1]

    def find(self, character: str) -> tuple[Statement, int] | None:
        """Return the first statement that holds a character, and the offset in it."""
        for statement in self._statements():
            if (offset := statement.source.find(character)) >= 0:
                return statement, offset
        return None

    def naming(self, table: str) -> tuple[Statement, int] | None:
        """Return the statement that names a table and the offset in it, if exactly one does."""
        name = re.compile(rf"(?<!\w){re.escape(table.rpartition('.')[2])}(?!\w)", re.IGNORECASE)
        found = [
            (statement, match.start()) for statement in self._statements() if (match := name.search(statement.source))
        ]
        return found[0] if len(found) == 1 else None

    def place(self, results: Sequence[PGresult], position: str | None) -> tuple[Statement, int | None] | None:
        """Return the failing statement and the offset in it.

        The server tells a position (from 1, in the whole message) for some errors only; `results` are of the statements
        that succeeded before. None: it was one of ours, after those of the file.
        """
        if position is not None:
            return self._at(int(position) - 1)
        if any(map(_is_check, results)):
            return None
        # A part alone may be a whole BEGIN … COMMIT block; of several each is one statement.
        count = sum(len(part) if isinstance(part, _Slice) else 1 for part in self._parts)
        index = 0 if count == 1 else len(results) - self._before
        return (next(islice(self._statements(), index, None)), None) if 0 <= index < count else None

    def _at(self, offset: int) -> tuple[Statement, int] | None:
        """Return the statement that stands at an offset of the message, and the offset in it."""
        number = bisect_right(self._starts, offset) - 1
        if number < 0:
            return None
        part, inner = self._parts[number], offset - self._starts[number]
        if isinstance(part, _Slice):
            return part.at(inner)
        put_before = len(part.body) - len(part.source)  # a SET TRANSACTION of ours
        return (part, max(0, inner - put_before)) if inner <= len(part.body) else None


def set_limits(command: str, limits: Limits) -> str:
    """Return SET statements; a limit of 0 means none, and lifts what role and database set; one of None leaves that."""
    parts = []
    if limits.lock_timeout is not None:
        parts.append(f"{command} lock_timeout = {round(limits.lock_timeout * 1000)}; ")
    if limits.statement_timeout is not None:
        parts.append(f"{command} statement_timeout = {round(limits.statement_timeout * 1000)}; ")
    return "".join(parts)
