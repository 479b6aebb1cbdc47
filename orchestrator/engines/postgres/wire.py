"""Simple-query messages over one connection: sending them, which statement an error is about, and what the server says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from orchestrator.engines.base import MAX_MESSAGES
from orchestrator.engines.postgres import errors
from orchestrator.engines.postgres.lock import CONNECT_TIMEOUT
from orchestrator.engines.postgres.message import Message
from orchestrator.engines.postgres.tables import Tables
from orchestrator.errors import StatementError
from orchestrator.model import Inserts, Statement, Statements, Target

_CANCELLED = "57014"
_SERVER_START = "SELECT pg_catalog.pg_postmaster_start_time()::text"


class Wire:
    """Sends the messages of one session."""

    def __init__(self, connection: psycopg.Connection[Any], target: Target, tables: Tables) -> None:
        self._connection = connection
        self._target = target
        self._tables = tables
        self.cancelled = False  # between two messages there is nothing on the server to cancel
        self._said: dict[tuple[str, str], None] = {}

    def send(self, message: Message) -> list[PGresult]:
        """Send one simple-query message; return its results. How many come before an error tells which statement failed."""
        pgconn = self._connection.pgconn
        with errors.mapped(self._connection, self._target) as failing:
            with self._connection.lock:
                pgconn.send_query(message.encoded())
                results: list[PGresult] = self._connection.wait(execute(pgconn))
            last = next((result for result in results if result.status == ExecStatus.FATAL_ERROR), results[-1])
            if last.status == ExecStatus.FATAL_ERROR:
                if message.is_committed(results):
                    pgconn.exec_(b"ROLLBACK")
                    return results  # what the message is for is done; only the state of the session was not kept
                before = results[: results.index(last)]  # after a fatal one the end of the connection may follow
                error = error_from_result(last, encoding="utf-8")
                failing.at = message.place(before, error.diag.statement_position)
                if not before and (character := errors.untranslatable(self._connection, error)):
                    failing.at = message.find(character) or failing.at
                failing.same_server = self._is_same_server
                failing.role = message.role(failing.at[0]) if failing.at else None
                failing.names = message.naming
                failing.records = message.has_statements and failing.at is None
                raise error
            if last.status in (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH):
                failing.at = message.place(results[:-1], None)
                pgconn.finish()  # the protocol has no other way out
                raise psycopg.DataError("COPY from or to the client cannot be used in a migration")
            return results

    def put_file(self, message: Message, statements: Sequence[Statement]) -> Message:
        """Put a file into a message. Send what is full, and return the message in which the transaction goes on."""
        for part in statements.parts if isinstance(statements, Statements) else statements:
            done = 0
            while done < (len(part) if isinstance(part, Inserts) else 1):
                if message.is_full:
                    self.send(message)
                    if self.cancelled:
                        raise StatementError("cancelled", code=_CANCELLED)
                    self.refuse_misread(statements, whole=True)
                    message = Message("", after=message)
                if isinstance(part, Inserts):
                    done = message.add_inserts(part, done)
                else:
                    message.put(part.opening)
                    message.add(part)
                    done = 1
        return message

    def ask_between(self, message: Message, checks: Sequence[Statement]) -> Message:
        """Send the message, then run the checks in the same transaction. Return an empty message, for what comes after them.

        CheckError if a check fails. Without checks, nothing is sent, and the message itself is returned.
        """
        if not checks:
            return message
        from orchestrator.engines.postgres.checks import in_file, judge_results

        self.refuse_misread(checks, whole=True)
        self.send(message)
        for check in checks:
            asking = in_file(check)
            judge_results(check, asking, self.send(asking))
        return Message("", after=message)

    def refuse_misread(self, statements: Sequence[Statement], *, whole: bool) -> None:
        """Refuse what the session would read otherwise than it stands. What is ours is read in UTF-8 in any case."""
        status = self._connection.info.parameter_status
        strings, encoding = status("standard_conforming_strings"), status("client_encoding") or "UTF8"
        if strings != "off" and encoding == "UTF8":
            return
        from orchestrator.engines.postgres.literals import refuse_misread

        try:
            refuse_misread(statements, strings, encoding, whole=whole)
        finally:
            if encoding != "UTF8":
                self.send(Message("SET client_encoding TO 'UTF8'"))

    @contextmanager
    def whole_or_nothing(self) -> Iterator[None]:
        """Leave no transaction open where one of several messages of it was the last."""
        try:
            yield
        except BaseException:
            pgconn = self._connection.pgconn
            if not self._connection.closed and pgconn.transaction_status == TransactionStatus.INTRANS:
                pgconn.exec_(b"ROLLBACK")
            raise

    def take_message(self, said: psycopg.errors.Diagnostic) -> None:
        """Keep what the server says while a file runs, but not without bound."""
        severity, text = said.severity_nonlocalized or "NOTICE", said.message_primary or ""
        if sum((known == "WARNING") is (severity == "WARNING") for known, _ in self._said) <= MAX_MESSAGES:
            self._said[severity, f"{text} ({said.message_detail})" if said.message_detail else text] = None

    def messages(self) -> list[tuple[str, str]]:
        """Return the WARNINGs, NOTICEs and INFOs of the files, as of RAISE."""
        said, self._said = self._said, {}
        return list(said)

    def _is_same_server(self) -> bool:
        """Whether the server that this session was on is running, and was not started again."""
        connect = partial(psycopg.connect, self._target.url.reveal(), autocommit=True, connect_timeout=CONNECT_TIMEOUT)
        with suppress(psycopg.Error), connect() as other:
            row = other.execute(_SERVER_START).fetchone()
            return row is not None and row[0] == self._tables.server_start
        return False
