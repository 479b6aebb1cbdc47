"""Find checks that write. This comes first, because in the transaction of its file the server lets a check write."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pymysql

from orchestrator.engines.base import Limits
from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.wire import Wire
from orchestrator.errors import StatementError
from orchestrator.model import Checks, Target

_READ_ONLY = "1792"


def refuse_writing(connection: Any, target: Target, wire: Wire, checks: Checks, limits: Limits) -> None:
    """Run all checks in a read-only transaction; StatementError for one that writes. Their answers are ignored.

    A check that calls a function which can write is refused too, even if the function would write nothing this time: the
    server locks all tables that the function can write to before it runs the query.
    """
    for check in (*checks.before, *checks.after):
        with errors.mapped(target):
            ask(connection, "START TRANSACTION READ ONLY")
        try:
            wire.run(check, limits)
        except StatementError as error:
            if error.code == str(errors.KILLED):  # by a signal to this run, or because it took too long
                raise
            if error.code == _READ_ONLY:
                raise error.completed(hint="a check must not change anything: ask for what is there") from None
        finally:
            with suppress(pymysql.Error, OSError):
                ask(connection, "ROLLBACK")
