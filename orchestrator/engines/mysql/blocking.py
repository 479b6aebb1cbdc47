"""Which sessions hold what another session waits for, as far as the server tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pymysql

from orchestrator.engines.mysql.connection import ask, open_connection
from orchestrator.errors import OrchError
from orchestrator.model import Blocking, Target

_STATE = "SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = {id}"
# A session with an open transaction holds every table that it has read against ALTER TABLE, also if it does nothing now.
_OPEN = """SELECT p.ID, p.USER, p.HOST, p.TIME, p.COMMAND FROM information_schema.INNODB_TRX t
    JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id
    WHERE p.DB = {database} AND p.ID NOT IN ({id}, CONNECTION_ID()) ORDER BY t.trx_started LIMIT 5"""


@contextmanager
def watching(target: Target, id: int) -> Iterator[Callable[[], Blocking | None]]:
    """Watch a session over a connection of its own; a server that does not tell is no error."""
    try:
        other = open_connection(target, database=False)
    except OrchError:
        yield lambda: None
        return
    try:
        yield lambda: _look(other, target, id)
    finally:
        with suppress(pymysql.Error, OSError):
            other.close()


def _look(connection: Any, target: Target, id: int) -> Blocking | None:
    from orchestrator.engines.mysql.records import text

    with suppress(pymysql.Error, OSError):
        state = ask(connection, _STATE.format(id=id))
        if not state or "lock" not in str(state[0][0]).lower():
            return None
        rows = ask(connection, _OPEN.format(id=id, database=text(target.database)))
        if not rows:
            return None
        who = ", ".join(f"connection {row[0]}" for row in rows)
        lines = [
            f"connection {number} ({user} from {host}) has a transaction open, {command.lower()} for {seconds} s"
            for number, user, host, seconds, command in rows
        ]
        return Blocking(who, "\n".join(lines), f"let it finish, or end it: KILL {rows[0][0]}")
    return None
