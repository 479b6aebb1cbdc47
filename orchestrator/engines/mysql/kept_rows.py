"""Restore the records if a statement that runs other statements, such as CALL, changed them and then failed.

Such a statement can commit while it runs, so a rollback does not restore the records. If rows were missing, the next run
would apply their migrations again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pymysql

from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import ask, ask_all
from orchestrator.engines.mysql.guard import Guard
from orchestrator.engines.mysql.reader import runs_others, words_of
from orchestrator.engines.mysql.records import Records, quoted, text
from orchestrator.errors import StatementError
from orchestrator.model import Statement, Target

_COLUMNS = "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {table}"
_AS_SQL = "IFNULL(CONCAT('_utf8mb4 X''', HEX(CONVERT({column} USING utf8mb4)), ''''), 'NULL')"


@contextmanager
def keeping_records(
    connection: Any, target: Target, records: Records, guard: Guard, statement: Statement, lock_held: str
) -> Iterator[None]:
    """Read the records, run a statement in this context, and restore them if the statement changed them and failed.

    `lock_held` is the SQL condition that this session has the migration lock: without it, another run may be writing.
    """
    if not runs_others(words_of(statement.source)):
        yield
        return
    with errors.mapped(target):
        kept = [_rows_of(connection, table) for table in (records.version_table, records.history)]
    try:
        yield
    except StatementError:
        with suppress(pymysql.Error, OSError):
            if guard.has_changed():
                _put_back(connection, kept, lock_held)
        raise


def _rows_of(connection: Any, table: str) -> list[str]:
    """Return the SQL statements that restore the rows which a table has now; none if there is no such table."""
    columns = [quoted(str(name)) for (name,) in ask(connection, _COLUMNS.format(table=text(table)))]
    if not columns:
        return []
    values = ", ', ', ".join(_AS_SQL.format(column=column) for column in columns)
    rows = ask(connection, f"SELECT CONCAT({values}) FROM {quoted(table)}")  # noqa: S608 - our own table
    into = f"INSERT INTO {quoted(table)} ({', '.join(columns)}) VALUES"
    return [f"DELETE FROM {quoted(table)}", *(f"{into} ({row})" for (row,) in rows)]  # noqa: S608 - as above


def _put_back(connection: Any, kept: Sequence[Sequence[str]], lock_held: str) -> None:
    ask(connection, "ROLLBACK")
    rows = [one for statements in kept for one in statements]
    try:
        ask_all(connection, ["START TRANSACTION", *rows, errors.stop_unless([lock_held]), "COMMIT"])
    except pymysql.Error:
        ask(connection, "ROLLBACK")
        raise
