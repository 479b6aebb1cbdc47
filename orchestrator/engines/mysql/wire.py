"""Run statements of files over one connection, with their time limits, answers and warnings."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pymysql
from pymysql.constants import SERVER_STATUS

from orchestrator.engines.base import MAX_MESSAGES, Limits, Rows
from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import Answer, Stopper, ask, run_alone
from orchestrator.errors import StatementError
from orchestrator.model import Statement, Target

_SHOWN = 200  # characters of a text that is refused

_SYNTAX = "1064"


class Wire:
    """Runs the statements of one session."""

    def __init__(self, connection: Any, target: Target, stopper: Stopper) -> None:
        self._connection = connection
        self._target = target
        self._stopper = stopper
        self._limits: Limits | None = None  # those of the session
        self._said: dict[tuple[str, str], None] = {}
        self._rows: Answer = ()  # of the statement that ran last
        self._columns: tuple[str, ...] = ()

    def run(self, statement: Statement, limits: Limits, body: str = "", *, with_warnings: bool = True) -> None:
        """Run one statement until it ends, or stop it after `statement_timeout`.

        `with_warnings`: read its warnings too. SHOW WARNINGS changes what ROW_COUNT() returns in the next statement.
        """
        if self._target.scratch:
            self._refuse_texts(statement)
        seconds = limits.statement_timeout or 0.0
        with self._stopper.within(seconds) as late:
            try:
                with errors.mapped(self._target, statement):
                    run_alone(self._connection, body or statement.body)
                    self._read_all()
            except StatementError as error:
                if error.code == "1065":  # a comment for servers that this one is not
                    return
                if error.code in ("1205", "3572"):
                    error.waited = float(limits.in_queue.lock_timeout or 0) or 1.0
                if error.code == str(errors.KILLED):
                    what = f"the statement took longer than {seconds:g} s" if late else "the statement was cancelled"
                    hint = "raise statement_timeout, or make it several smaller ones" if late else ""
                    raise error.completed(what=what, hint=hint) from None
                raise
        if with_warnings and self._connection.result is not None and self._connection.result.warning_count:
            self._take_warnings()

    def _read_all(self) -> None:
        """Keep the first result of a statement; read the others of a CALL, as an error may be among them."""
        connection = self._connection
        self._columns = tuple(field.name for field in getattr(connection.result, "fields", None) or ())
        self._rows = connection.result.rows or () if connection.result is not None else ()
        while connection.has_more():
            connection.next_result()

    def _refuse_texts(self, statement: Statement) -> None:
        """Refuse what would reach beyond the copy: texts that are put together while the file runs."""
        from orchestrator.engines.mysql.dynamic_sql import given_texts, is_settled, other_database
        from orchestrator.engines.mysql.reach import refused_text

        if not is_settled(statement.source):
            raise StatementError(
                "no copy can run this: the text that it executes may be another one each time that it is asked for",
                hint="put it into a variable first: SET @text = …; then PREPARE … FROM @text, or EXECUTE IMMEDIATE @text",
                statement=statement,
            )
        with errors.mapped(self._target, statement):
            texts = given_texts(self._connection, statement.source)
            named = other_database(self._connection, statement.source, texts)
        for text in texts:
            what = f"it names the database '{text}'" if text == named else refused_text(text, self._target.database)
            if what:
                raise StatementError(
                    f"no copy can run this: {what}, in a text that is executed",
                    detail=text[:_SHOWN],
                    hint="leave the name out: it runs in the current one",
                    statement=statement,
                )

    def _take_warnings(self) -> None:
        with suppress(pymysql.Error):
            for level, _, said in ask(self._connection, "SHOW WARNINGS"):
                severity = "WARNING" if level == "Warning" else "NOTICE"
                if sum((known == "WARNING") is (severity == "WARNING") for known, _ in self._said) <= MAX_MESSAGES:
                    self._said[severity, str(said)] = None

    def judge(self, check: Statement, limits: Limits) -> None:
        """Ask a check; CheckError if the answer is not true."""
        from orchestrator.engines.checks import answer_of, judge

        self.run(check, limits)
        judge(check, [answer_of(row[0]) for row in self._rows[:2]])

    def judge_in_file(self, check: Statement, limits: Limits) -> None:
        """Ask a check in the transaction of a file; undo what a function that it calls has changed. CheckError as `judge`."""
        with errors.mapped(self._target):
            ask(self._connection, "SAVEPOINT orch_check")
        self.judge(check, limits)
        with errors.mapped(self._target):
            ask(self._connection, "ROLLBACK TO SAVEPOINT orch_check")

    def rows_of(self, query: Statement, limits: Limits, most: int) -> Rows:
        """Return the answer to a query: at most `most` rows and one more."""
        from orchestrator.engines.checks import text_of

        # MariaDB ignores the ORDER BY of a derived table that has no LIMIT. One with its own LIMIT takes no second one.
        whole = "SELECT * FROM (\n{}\n{}) AS members {}"
        bound = f"LIMIT {most + 1}"
        try:
            self.run(query, limits, whole.format(query.body, bound, ""))
        except StatementError as error:
            if error.code != _SYNTAX:
                raise
            self.run(query, limits, whole.format(query.body, "", bound))
        rows = tuple(tuple(None if cell is None else text_of(cell) for cell in row) for row in self._rows)
        return Rows(self._columns, rows)

    def check_in_transaction(self, statement: Statement) -> None:
        """Raise StatementError if the statement that just ran has ended the transaction."""
        if self._connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS:
            return
        raise StatementError(
            "the statement ended the transaction: what it and those above it did is committed, without a record",
            statement=statement,
            hint="put it into a migration of its own",
            partly=True,
        )

    def set_limits(self, limits: Limits) -> None:
        """Set how long a statement may wait for a table or a row; whole seconds, as MySQL has them."""
        if limits == self._limits:
            return
        seconds = limits.in_queue.lock_timeout
        value = "DEFAULT" if not seconds else str(max(1, int(seconds)))
        self._connection.waiting.append(
            f"SET SESSION lock_wait_timeout = {value}, SESSION innodb_lock_wait_timeout = {value}"
        )
        self._limits = limits

    def forget_limits(self) -> None:
        """Take note that the session has its own limits again."""
        self._limits = None

    def messages(self) -> list[tuple[str, str]]:
        """Return the warnings and notes since the last call, each once."""
        said, self._said = self._said, {}
        return list(said)
