"""A connection through libpq alone, by ctypes: enough to read both tables of a database.

Importing psycopg takes longer than all other work of a run that has nothing to do. Its binary package brings a libpq, which
takes a tenth of that. What this connection does not know, it does not guess: it raises `Failed`, and psycopg serves.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
import time
from collections.abc import Iterator, Sequence
from ctypes import c_char_p, c_int, c_size_t, c_void_p
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestrator.records import NamedTuple

if TYPE_CHECKING:
    import psycopg

    AnyConnection: TypeAlias = "psycopg.Connection[Any] | Connection"
    """What both tables can be read over."""

KEEPALIVES = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "6"}
"""Seconds and tries: a line that died without a word is noticed after a minute and a half, not two hours."""
_BAD = 1  # ConnStatusType
_POLL_FAILED, _POLL_READING, _POLL_OK = 0, 1, 3  # PostgresPollingStatusType
_COMMAND_OK, _TUPLES_OK = 1, 2  # ExecStatusType
_TOLD = ("PQuser", "PQoptions", "PQhost", "PQhostaddr", "PQport")
_FUNCTIONS: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
    ("PQconnectStartParams", c_void_p, (c_void_p, c_void_p, c_int)),
    ("PQconnectPoll", c_int, (c_void_p,)),
    ("PQstatus", c_int, (c_void_p,)),
    ("PQsocket", c_int, (c_void_p,)),
    ("PQfinish", None, (c_void_p,)),
    ("PQsetNoticeProcessor", c_void_p, (c_void_p, c_void_p, c_void_p)),
    ("PQconnectionUsedPassword", c_int, (c_void_p,)),
    ("PQpass", c_char_p, (c_void_p,)),
    ("PQtrace", None, (c_void_p, c_void_p)),
    ("PQuntrace", None, (c_void_p,)),
    ("PQlibVersion", c_int, ()),
    *((name, c_char_p, (c_void_p,)) for name in _TOLD),
    ("PQsendQuery", c_int, (c_void_p, c_char_p)),
    ("PQgetResult", c_void_p, (c_void_p,)),
    ("PQresultStatus", c_int, (c_void_p,)),
    ("PQclear", None, (c_void_p,)),
    ("PQntuples", c_int, (c_void_p,)),
    ("PQnfields", c_int, (c_void_p,)),
    ("PQfname", c_char_p, (c_void_p, c_int)),
    ("PQftype", ctypes.c_uint, (c_void_p, c_int)),
    ("PQgetisnull", c_int, (c_void_p, c_int, c_int)),
    ("PQgetvalue", c_void_p, (c_void_p, c_int, c_int)),
    ("PQgetlength", c_int, (c_void_p, c_int, c_int)),
    ("PQescapeLiteral", c_void_p, (c_void_p, c_char_p, c_size_t)),
    ("PQfreemem", None, (c_void_p,)),
)
_SILENT = ctypes.CFUNCTYPE(None, c_void_p, c_char_p)(lambda _argument, _text: None)  # libpq would write to stderr


class Failed(Exception):
    """libpq or the server did not do what was asked."""


class Info(NamedTuple):
    """What psycopg's `Connection.info` tells, too."""

    user: str
    options: str
    host: str
    hostaddr: str
    port: int


@cache
def library() -> ctypes.CDLL | None:
    """Return the libpq of psycopg's binary package; None where there is none, or another one is asked for."""
    if sys.platform != "linux" or os.environ.get("PSYCOPG_IMPL", "binary") != "binary":
        return None
    spec = PathFinder.find_spec("psycopg_binary")
    if spec is None or spec.origin is None:
        return None
    for path in Path(spec.origin).parent.with_name("psycopg_binary.libs").glob("libpq-*.so*"):
        try:
            found = ctypes.CDLL(str(path))
            for name, result, arguments in _FUNCTIONS:
                function = getattr(found, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        return found
    return None


class Connection:
    """A connection that offers what reading both tables needs of a `psycopg.Connection`. For one thread at a time."""

    def __init__(self, parameters: Sequence[tuple[str, str]], seconds: float, trace: int | None = None) -> None:
        """Log in within so many seconds. Of a parameter that is given twice the last value holds, DSN or not.

        `trace`: a file descriptor to which libpq writes what it sends and receives; complete once the connection is closed.
        """
        found = library()
        if found is None or any("\0" in value for _, value in parameters):
            raise Failed
        self._pq = found
        count = len(parameters) + 1
        names = (c_char_p * count)(*(name.encode() for name, _ in parameters), None)
        values = (c_char_p * count)(*(value.encode() for _, value in parameters), None)
        self._pg = found.PQconnectStartParams(names, values, 1)
        if not self._pg:
            raise Failed
        self._trace = None
        try:
            found.PQsetNoticeProcessor(self._pg, _SILENT, None)
            if trace is not None:
                self._trace = _stream(trace)
                found.PQtrace(self._pg, self._trace)
            self._log_in(time.monotonic() + seconds)
            user, options, host, address, port = map(self._told, _TOLD)
            self.info = Info(user, options, host, address, int(port))
        except BaseException:
            self.close()
            raise

    def _log_in(self, deadline: float) -> None:
        pq, status = self._pq, 0
        if pq.PQstatus(self._pg) == _BAD:
            raise Failed
        waits_for = select.POLLOUT
        while status != _POLL_OK:
            ready = select.poll()
            ready.register(pq.PQsocket(self._pg), waits_for)
            if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise Failed
            status = pq.PQconnectPoll(self._pg)
            if status == _POLL_FAILED:
                raise Failed
            waits_for = select.POLLIN if status == _POLL_READING else select.POLLOUT

    def _told(self, function: str) -> str:
        return (getattr(self._pq, function)(self._pg) or b"").decode()

    @property
    def used_password(self) -> bool:
        """Whether the server asked for the password."""
        return bool(self._pq.PQconnectionUsedPassword(self._pg))

    @property
    def password(self) -> bytes:
        """The password of the DSN, or of a password file. Never to be printed."""
        return self._pq.PQpass(self._pg) or b""

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
        return not self._pg

    def close(self) -> None:
        """Close the connection."""
        connection, self._pg = self._pg, None
        if connection:
            self._pq.PQuntrace(connection)
            self._pq.PQfinish(connection)
            if self._trace:
                ctypes.CDLL(None).fclose(c_void_p(self._trace))

    def literal(self, value: str) -> str:
        """Return a text as SQL."""
        data = value.encode()
        escaped = self._pq.PQescapeLiteral(self._pg, data, len(data))
        if not escaped:
            raise Failed
        try:
            return ctypes.string_at(escaped).decode()
        finally:
            self._pq.PQfreemem(escaped)

    def execute(self, query: str | bytes) -> Answers:
        """Send a message of one or several statements, and return the answers to all of them."""
        pq = self._pq
        if not pq.PQsendQuery(self._pg, query.encode() if isinstance(query, str) else query):
            raise Failed
        answers: list[Answer] = []
        while result := pq.PQgetResult(self._pg):
            try:
                status = pq.PQresultStatus(result)
                if status not in (_COMMAND_OK, _TUPLES_OK):
                    raise Failed  # what else comes is not waited for: nobody asks this connection again
                answers.append(self._answer(result) if status == _TUPLES_OK else _NOTHING)
            finally:
                pq.PQclear(result)
        return Answers(answers)

    def _answer(self, result: int) -> Answer:
        names = [(self._pq.PQfname(result, column).decode(),) for column in range(self._pq.PQnfields(result))]
        return Answer(names, list(self._rows(result)))

    def _rows(self, result: int) -> Iterator[tuple[Any, ...]]:
        pq = self._pq
        kinds = [_READ.get(pq.PQftype(result, column)) for column in range(pq.PQnfields(result))]
        for row in range(pq.PQntuples(result)):
            values: list[Any] = []
            for column, read in enumerate(kinds):
                if pq.PQgetisnull(result, row, column):
                    values.append(None)
                elif read is None:
                    raise Failed
                else:
                    length = pq.PQgetlength(result, row, column)
                    values.append(read(ctypes.string_at(pq.PQgetvalue(result, row, column), length).decode()))
            yield tuple(values)


def _stream(descriptor: int) -> int:
    """Return a stream of the C library that writes to a copy of this file descriptor."""
    opened = ctypes.CDLL(None).fdopen
    opened.restype, opened.argtypes = c_void_p, (c_int, c_char_p)
    stream = opened(os.dup(descriptor), b"w")
    if not stream:
        raise Failed
    return int(stream)


class Answer(NamedTuple):
    """The answer to one statement: the names of its columns, each in a tuple, and its rows. No columns: it cannot have rows."""

    columns: Sequence[tuple[str]]
    rows: list[tuple[Any, ...]]


_NOTHING = Answer((), [])


class Answers:
    """The answers to a message, one after the other, as a cursor of psycopg offers them."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers
        self._at = 0

    @property
    def description(self) -> Sequence[tuple[str]]:
        """The names of the columns of the current answer; none if it has no rows, and could not have."""
        return self._answers[self._at].columns

    def nextset(self) -> bool:
        """Go on to the next answer; return whether there is one."""
        if self._at + 1 >= len(self._answers):
            return False
        self._at += 1
        return True

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows of the current answer."""
        return self._answers[self._at].rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the first row of the current answer."""
        rows = self.fetchall()
        return rows[0] if rows else None


def _json(text: str) -> Any:
    import json

    return json.loads(text)


def _names(text: str) -> list[str]:
    """Read an array of texts that need no quotes."""
    if '"' in text or "NULL" in text or text[:1] != "{":
        raise Failed
    return text[1:-1].split(",") if text != "{}" else []


# By the oid of its type, as pg_type.dat has it: bool, name, int8, int2, int4, text, oid, json, name[], text[].
_READ: dict[int, Any] = {
    16: "t".__eq__,
    **dict.fromkeys((19, 25), str),
    **dict.fromkeys((20, 21, 23, 26), int),
    114: _json,
    **dict.fromkeys((1003, 1009), _names),
}
