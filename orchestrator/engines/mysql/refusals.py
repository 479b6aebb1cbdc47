"""What is refused when it is about to run, as only a session can tell: our own tables, and texts that it would read otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.lexer import name_of
from orchestrator.engines.mysql.reader import same_without_backslashes, tokens_of
from orchestrator.errors import StatementError
from orchestrator.model import Statement, Target


class Refusals:
    """The checks of one session."""

    def __init__(self, connection: Any, target: Target, ours: Sequence[str]) -> None:
        self._connection = connection
        self._target = target
        self._ours = {name.lower() for name in ours}

    def check(self, statements: Sequence[Statement]) -> None:
        """Raise StatementError for what must not run here. Nothing of these has run then."""
        for statement in statements:
            self._check_tables(statement)
        if not any("\\" in statement.source for statement in statements):
            return
        with errors.mapped(self._target):
            ((mode,),) = ask(self._connection, "SELECT @@SESSION.sql_mode")
        for statement in statements:
            if "NO_BACKSLASH_ESCAPES" in mode and not same_without_backslashes(statement.source):
                raise StatementError(
                    "this server has NO_BACKSLASH_ESCAPES on, with which the statement ends elsewhere",
                    statement=statement,
                    hint="write the text without a backslash, or set sql_mode in the DSN",
                )

    def _check_tables(self, statement: Statement) -> None:
        tokens = tokens_of(statement.source)
        if not tokens or tokens[0].text == "select":
            return
        for token in tokens:
            if token.kind in ("word", "quoted") and name_of(token).lower() in self._ours:
                raise StatementError(
                    "the file changes the records of orch or of golang-migrate",
                    statement=statement,
                    offset=token.start,
                    hint=f"remove what it does to {name_of(token)}",
                )
