"""Whether a statement that failed may have done a part of its work."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pymysql

from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.named import called_procedure, quoted
from orchestrator.engines.mysql.probe import Intent
from orchestrator.engines.mysql.reader import runs_others, words_of
from orchestrator.errors import StatementError

_SYNTAX, _NO_ROUTINE = 1064, 1305
_CERTAIN = frozenset(
    (_SYNTAX, 1146, _NO_ROUTINE, 1370, 1142, 1143, 1227, 1054, 1318, 1044, 1049, 1290, 1226, 1785, 1786, 1787, 3748)
)
"""Errors before a statement has begun to do anything, if it does not run others."""


def is_partly_done(connection: Any, error: StatementError, intent: Intent | None) -> bool:
    """Return whether the statement of an error may have had a part of its effect; True where nobody knows."""
    change = intent.change if intent else None
    code = int(error.code) if error.code.isdecimal() else 0
    if code in _CERTAIN and not (change and change.drops):
        return error.statement is not None and _has_begun(connection, code, error.statement.source)
    if intent is None or change is None:
        return True
    if change.drops:
        with suppress(pymysql.Error, OSError):
            return bool(intent.changed(connection)[0])
    return False


def _has_begun(connection: Any, code: int, source: str) -> bool:
    """Whether a statement that runs others may have run some of them before it came upon such an error."""
    words = words_of(source)
    if not words or not runs_others(words):
        return False
    if code == _SYNTAX:  # of the text itself, unless a text inside of it is prepared
        return bool({"call", "execute", "prepare"} & {*words})
    if code == _NO_ROUTINE and words[0] == "call":
        return _is_there(connection, source)
    return True


def _is_there(connection: Any, source: str) -> bool:
    """Whether the procedure is there that a CALL names: if not, nothing of it ran."""
    try:
        ask(connection, f"SHOW CREATE PROCEDURE {quoted(called_procedure(source))}")
    except pymysql.Error as error:
        return errors.code_of(error) != _NO_ROUTINE
    return True
