"""What is refused when it is about to run, as only a session can tell: texts that it would read otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.lexer import Token
from orchestrator.engines.mysql.reader import (
    ASKS_BACK,
    HINT_BETWEEN,
    asked_between,
    look_back,
    same_without_backslashes,
    tokens_of,
)
from orchestrator.engines.mysql.settings import has_body
from orchestrator.errors import StatementError
from orchestrator.model import Statement, Target

_ASK_FROM = 250_000
"""Characters, of up to 4 bytes. The limit of the server matters from here on: it is at least 1 MiB, unless it was lowered."""


class Refusals:
    """The checks of one session."""

    def __init__(self, connection: Any, target: Target) -> None:
        self._connection = connection
        self._target = target

    def check(self, statements: Sequence[Statement]) -> None:
        """Raise StatementError for what must not run here. Nothing of these has run then."""
        self._refuse_too_large(statements)
        with_body = [one for one in statements if ";" in one.source and has_body(tokens_of(one.source))]
        if not with_body and not any("\\" in statement.source for statement in statements):
            return
        with errors.mapped(self._target):
            ((mode,),) = ask(self._connection, "SELECT @@SESSION.sql_mode")
        for statement in with_body:
            if "ORACLE" in mode and "sql_mode" not in statement.settings.lower():
                raise StatementError(
                    "this server has sql_mode ORACLE on, with which the statement may end elsewhere",
                    statement=statement,
                    hint="SET sql_mode at the top of the file; with ORACLE in it, put DELIMITER lines around bodies",
                )
        for statement in statements:
            if "NO_BACKSLASH_ESCAPES" in mode and not same_without_backslashes(statement.source):
                raise StatementError(
                    "this server has NO_BACKSLASH_ESCAPES on, with which the statement ends elsewhere",
                    statement=statement,
                    hint="write the text without a backslash, or set sql_mode in the DSN",
                )

    def look_back(self, statement: Statement) -> Token | None:
        """Return the word by which a statement asks about the one before it, such as ROW_COUNT; None if it does not ask."""
        return look_back(tokens_of(statement.source)) if ASKS_BACK.search(statement.source) else None

    def check_between(self, statements: Sequence[Statement], *, resumed: bool) -> None:
        """Raise StatementError if one of these asks about the one before it, and each is recorded before the next one runs.

        `read_script` refuses most such files. It does not know which tables have no transactions, so this is checked here.
        `resumed`: an earlier run has run statements of the file before these.
        """
        for statement in statements if resumed else statements[1:]:
            if token := self.look_back(statement):
                raise StatementError(asked_between(token), statement=statement, offset=token.start, hint=HINT_BETWEEN)

    def _refuse_too_large(self, statements: Sequence[Statement]) -> None:
        """Raise StatementError for a statement that the server does not take as one message: it would break the connection."""
        large = [one for one in statements if len(one.source) > _ASK_FROM]
        if not large:
            return
        with errors.mapped(self._target):
            ((most,),) = ask(self._connection, "SELECT @@SESSION.max_allowed_packet")
        for statement in large:
            if (size := len(statement.source.encode())) >= int(most):
                raise StatementError(
                    f"the statement has {size:,} bytes, and the server's max_allowed_packet is {int(most):,}",
                    statement=statement,
                    hint=errors.TOO_LARGE,
                )
