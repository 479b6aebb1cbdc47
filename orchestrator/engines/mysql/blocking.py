"""How far a session is, and which sessions hold what it waits for, as far as the server tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pymysql

from orchestrator.engines.mysql.connection import ask, is_mariadb, open_connection
from orchestrator.errors import OrchError
from orchestrator.model import Activity, Blocking, Target

_STATE = "SELECT STATE, {progress} FROM information_schema.PROCESSLIST WHERE ID = {id}"
# What MariaDB counts; of several stages each is a part of the whole. MySQL has no such columns.
_PROGRESS = "CAST(PROGRESS AS SIGNED), STAGE, MAX_STAGE"
# A session with an open transaction holds every table that it has read against ALTER TABLE, also if it does nothing now.
_OPEN = """SELECT p.ID, p.USER, p.HOST, p.TIME, p.COMMAND,
        TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) FROM information_schema.INNODB_TRX t
    JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id
    WHERE p.DB = {database} AND p.ID NOT IN ({id}, CONNECTION_ID()) ORDER BY t.trx_started LIMIT 5"""


@contextmanager
def watching(target: Target, id: int, first: Callable[[Any], None]) -> Iterator[Callable[[], Activity]]:
    """Watch a session over a connection of its own, with which `first` is called; a server that does not tell is no error."""
    try:
        other = open_connection(target, database=False)
    except OrchError:
        yield Activity
        return
    try:
        first(other)
        yield lambda: _look(other, target, id)
    finally:
        with suppress(pymysql.Error, OSError):
            other.close()


def _look(connection: Any, target: Target, id: int) -> Activity:
    from orchestrator.engines.mysql.records import text

    with suppress(pymysql.Error, OSError):
        counted = is_mariadb(connection)
        found = ask(connection, _STATE.format(id=id, progress=_PROGRESS if counted else "0, 0, 0"))
        if not found:
            return Activity()
        state, percent, stage, stages = str(found[0][0] or ""), *(int(one or 0) for one in found[0][1:])
        if "lock" not in state.lower():
            if not stages:
                return Activity()
            return Activity(f"{state}, stage {stage} of {stages}" if stages > 1 else state, percent, 100)
        rows = ask(connection, _OPEN.format(id=id, database=text(target.database)))
        if not rows:
            return Activity()
        who = ", ".join(f"connection {row[0]}" for row in rows)
        lines = [
            f"connection {number} ({user} from {host}) has a transaction open, {command.lower()} for {seconds} s"
            for number, user, host, seconds, command, _ in rows
        ]
        since = datetime.now(UTC) - timedelta(seconds=int(rows[0][5] or 0))
        hint = f"let it finish, or end it: KILL {rows[0][0]}"
        return Activity(blocking=Blocking(who, "\n".join(lines), hint, since))
    return Activity()
