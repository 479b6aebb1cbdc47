"""MySQL and MariaDB as an engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any

from orchestrator.engines.base import Confined, Copies
from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import ask, ask_all, open_connection
from orchestrator.engines.mysql.container import create_statement
from orchestrator.engines.mysql.driver import pymysql
from orchestrator.engines.mysql.reader import read_script
from orchestrator.engines.mysql.records import quoted
from orchestrator.engines.mysql.session import MysqlSession
from orchestrator.engines.mysql.writable import IS_WRITABLE, READ_ONLY, is_on, read_only, refuse
from orchestrator.errors import DatabaseMissingError, InvalidError, StatementError
from orchestrator.model import CreateOptions, File, ReadOnly, Script, Target

_THERE = 1007


class Mysql:
    """The engine. It uses a connection again where it can, because USE costs less than a login.

    A connection that created a database serves the session that migrates that database. A connection that was opened
    because a database is missing serves the next one that needs a connection to the same server.
    """

    name = "mysql"

    def __init__(self, actor: str, run_id: str) -> None:
        self._who = f"orch/{run_id} {actor}"
        self._is_read_only: dict[str, bool] = {}  # by server
        self._new: dict[str, Any] = {}  # by DSN: the connections that have created a database
        self._idle: dict[str, list[Any]] = {}  # by server that lacks databases: connections without a database

    def parse(self, file: File, text: str, *, piecewise: bool = False) -> Script:
        """Return a file's statements; InvalidError with file, line and column if it is not one of ours."""
        del piecewise  # each statement is a message of its own in any case
        return read_script(file, text)

    def confine(self, script: Script, database: str, scratch: str) -> Confined:
        """Return the file as it runs in a copy, and what in it reaches beyond the database."""
        from orchestrator.engines.mysql.reach import confine

        return confine(script, database, scratch)

    def check(self, target: Target) -> None:
        """Refuse a name of the version table that golang-migrate would not quote."""
        table = target.parameters.get("x-migrations-table", "")
        if "`" in table or "\\" in table or "'" in table or len(table) > 50:
            raise InvalidError(
                f"{target.database_id}: x-migrations-table is no name of a table",
                hint="use up to 50 letters, digits and _",
            )

    def create(self, target: Target, options: CreateOptions) -> bool:
        """Create a missing database. Returns False if it is there by now. ConnectError on a server that is read-only."""
        connection = self._of_server(target)
        statement = create_statement(target.database, options).rstrip().rstrip(";")
        try:
            with errors.mapped(target):
                try:
                    ask_all(
                        connection, [errors.stop_unless([IS_WRITABLE]), statement, f"USE {quoted(target.database)}"]
                    )
                except pymysql.Error as error:
                    code = errors.code_of(error)
                    if code == _THERE:
                        return False
                    if code == errors.OUT_OF_RANGE:
                        refuse(ask(connection, f"SELECT {READ_ONLY}")[0][0], target)  # a saved plan may be older
                    if code in (1115, 1253, 1273):  # a character set or a collation that there is not
                        raise StatementError(errors.text_of(error), code=str(code)) from None
                    raise
                connection.is_new = True
                self._new[target.url.reveal()] = connection
        finally:
            if not connection.is_new:
                _close(connection)
        return True

    @contextmanager
    def connect(self, target: Target, until: float | None = None) -> Iterator[MysqlSession]:
        """Open a session; DatabaseMissingError if the server has no database of that name."""
        del until
        connection = self._new.pop(target.url.reveal(), None)
        try:
            connection = connection or self._entered(target)
        except DatabaseMissingError as missing:
            missing.read_only = self._why_read_only(target)
            raise
        try:
            yield MysqlSession(connection, target, self._who)
        finally:
            _close(connection)

    def _entered(self, target: Target) -> Any:
        """Return a connection to a database. DatabaseMissingError if it is not there, others if it cannot be used."""
        if target.server_key not in self._idle:
            return open_connection(target)
        connection = self._of_server(target)
        try:
            ask(connection, f"USE {quoted(target.database)}")
        except pymysql.Error as error:
            self._idle[target.server_key].append(connection)
            raise errors.refused(error, target) from None
        return connection

    def _of_server(self, target: Target) -> Any:
        """Return a connection without a database."""
        with suppress(KeyError, IndexError, pymysql.Error, OSError):
            connection = self._idle[target.server_key].pop()
            connection.ping(reconnect=False)  # a person may have read the plan for longer than wait_timeout
            return connection
        return open_connection(target, database=False)

    def _why_read_only(self, target: Target) -> ReadOnly | None:
        """Return why no database can be created on a server. Each server is asked once."""
        if target.server_key not in self._is_read_only:
            connection = open_connection(target, database=False)
            try:
                with errors.mapped(target):
                    ((value,),) = ask(connection, f"SELECT {READ_ONLY}")
            finally:  # only now, as another thread may take it; `close` closes it
                self._idle.setdefault(target.server_key, []).append(connection)
            self._is_read_only[target.server_key] = is_on(value)
        return read_only(target) if self._is_read_only[target.server_key] else None

    def copies(self, target: Target, options: CreateOptions) -> Copies:
        """Return the verbs for templates and clones on this target's server."""
        from orchestrator.engines.mysql.copies import MysqlCopies

        return MysqlCopies(target, options)

    def close(self) -> None:
        """Close the connections that nobody has used."""
        for connection in (*self._new.values(), *chain.from_iterable(self._idle.values())):
            _close(connection)
        self._new, self._idle = {}, {}


def _close(connection: Any) -> None:
    with suppress(pymysql.Error):
        connection.close()
