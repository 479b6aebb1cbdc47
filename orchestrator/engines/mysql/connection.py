"""Connections to a server: how a DSN becomes one, and how a statement on it is stopped."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any
from urllib.parse import unquote

from pymysql.charset import charset_by_name
from pymysql.connections import Connection
from pymysql.constants import CLIENT, COMMAND

from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.dsn import network_of, pairs_of, split, variables_of
from orchestrator.errors import ConnectError
from orchestrator.model import Target

CONNECT_TIMEOUT = 10  # seconds, unless the DSN says otherwise
Answer = tuple[tuple[Any, ...], ...]
"""The rows of a result."""
OURS = {"autocommit": 1, "sql_select_limit": 2**64 - 1, "completion_type": 0}
"""What every session sets. A server or its init_connect may have other values: then nothing commits by itself, orch reads a part
of its records only, or a COMMIT begins another transaction."""
_SET_OURS = ", ".join(f"SESSION {name} = {value}" for name, value in OURS.items())
_DURATION = re.compile(r"([0-9.]+)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def open_connection(target: Target, *, database: bool = True, timeout: float | None = None) -> Any:
    """Return a new connection, which commits every statement by itself.

    Not `database`: to the server alone. `timeout`: seconds to connect. ConnectError, NotPermittedError or
    DatabaseMissingError where that fails.
    """
    url = target.url.reveal()
    parts = split(url)
    network = network_of(parts.network)
    options = {unquote(key): unquote(value) for key, value in pairs_of(parts.query)}
    arguments: dict[str, Any] = {"unix_socket": network.socket} if network.socket else {}
    if not network.socket:
        arguments = {"host": network.host.strip("[]"), "port": int(network.port)}
    tls = _tls(options)
    arguments |= {"ssl": tls} if tls is not None else {"ssl_disabled": True}
    if options.get("collation"):
        arguments["collation"] = options["collation"]
    with errors.connecting(target):
        connection = OurConnection(
            user=unquote(parts.user) or None,
            password=unquote(parts.password),
            database=target.database if database else None,
            charset="utf8mb4",
            autocommit=None,  # see OURS: the driver does not know what init_connect has set
            connect_timeout=timeout or _seconds(options.get("timeout", "")) or CONNECT_TIMEOUT,
            read_timeout=_seconds(options.get("readTimeout", "")),
            write_timeout=_seconds(options.get("writeTimeout", "")),
            client_flag=CLIENT.MULTI_STATEMENTS
            | (CLIENT.FOUND_ROWS if options.get("clientFoundRows") == "true" else 0),
            **arguments,
        )
    try:
        for name, value in variables_of(url).items():
            with errors.mapped(target):
                ask(connection, f"SET {name} = {value}")
    except BaseException:
        connection.close()
        raise
    return connection


class OurConnection(Connection):
    """A connection that takes several statements in one message, as long as they are our own.

    `waiting` are statements of ours that need no answer: they go with the next message. `is_new`: it has created its database.
    """

    def __init__(self, **arguments: Any) -> None:
        self.is_new = False
        self.waiting: list[str] = []
        self._takes_several = True
        super().__init__(**arguments)

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Set the character set of the session and, in the same message, the settings on which orch depends."""
        said = f"SET NAMES {charset} COLLATE {collation}" if collation else f"SET NAMES {charset}"
        ask(self, f"{said}, {_SET_OURS}")
        self.charset, self.collation, self.encoding = charset, collation, charset_by_name(charset).encoding

    def allow_several(self, several: bool) -> None:
        """Let the server read several statements in a message, or only one."""
        if several is not self._takes_several:
            driver: Any = self
            driver._execute_command(COMMAND.COM_SET_OPTION, b"\0\0" if several else b"\1\0")
            driver._read_packet()
            self._takes_several = several

    def rows(self) -> Answer:
        """Return the rows of the last result. Texts are str, after SET NAMES binary too."""
        result = self.result
        if result is None or not result.rows:
            return ()
        rows: Answer = tuple(result.rows)
        return tuple(map(_decoded, rows)) if any(isinstance(cell, bytes) for row in rows for cell in row) else rows

    @property
    def result(self) -> Any:
        """The result that was read last, as the driver has it."""
        return getattr(self, "_result", None)

    def has_more(self) -> bool:
        """Whether the message has another result. Its error, if it has one, comes when it is read."""
        return self.result is not None and bool(self.result.has_next)


def ask(connection: Any, query: str) -> Answer:
    """Send one statement unchanged, and return its rows."""
    if connection.waiting and ";" not in query:
        return ask_all(connection, (query,))[0]
    run_alone(connection, query)
    rows: Answer = connection.rows()
    return rows


def ask_all(connection: Any, queries: Sequence[str], answers: list[Answer] | None = None) -> list[Answer]:
    """Send several statements of ours as one message, and return the rows of each.

    The server stops at the first error. Then `answers` has the rows of those before it, and a transaction that was begun is
    still open.
    """
    answers = [] if answers is None else answers
    waiting, connection.waiting = connection.waiting, []
    connection.allow_several(True)
    connection.query(";\n".join((*waiting, *queries)))
    for _ in waiting:
        connection.next_result()
    answers.append(connection.rows())
    while connection.has_more():
        connection.next_result()
        answers.append(connection.rows())
    return answers


def run_alone(connection: Any, query: str) -> None:
    """Run one statement. The server never reads its text as several. Afterwards the connection has its first result."""
    if connection.waiting:
        waiting, connection.waiting = connection.waiting, []
        ask_all(connection, waiting)
    if ";" in query:  # nothing else ends a statement
        connection.allow_several(False)
    connection.query(query)


def is_mariadb(connection: Any) -> bool:
    """Whether the server is MariaDB, as it says itself."""
    return "mariadb" in str(connection.get_server_info()).lower()


def _decoded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(cell.decode(errors="replace") if isinstance(cell, bytes) else cell for cell in row)


class Stopper:
    """Stops the statement that a connection is running: after a time, or because a person wants it."""

    def __init__(self, target: Target, connection: Any) -> None:
        self._target = target
        self._id = connection.thread_id()
        self._mutex = threading.Lock()
        self._running = False

    @contextmanager
    def within(self, seconds: float) -> Iterator[list[bool]]:
        """Stop what runs in this context after `seconds` (0: never). Once it was stopped, the yielded list has an element."""
        late: list[bool] = []
        with self._mutex:
            self._running = True
        timer = threading.Timer(seconds, self._late, (late,)) if seconds else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            yield late
        except KeyboardInterrupt:  # the server would go on with it
            self.stop()
            raise
        finally:
            with self._mutex:  # no KILL is on its way any more, which would hit the next statement
                self._running = False
            if timer:
                timer.cancel()

    def stop(self) -> bool:
        """Stop what is running now. Whether there was anything."""
        with self._mutex:
            if not self._running:
                return False
            with suppress(Exception):  # the server is gone: the connection breaks by itself
                other = open_connection(self._target, database=False)
                try:
                    ask(other, f"KILL QUERY {self._id}")
                finally:
                    other.close()
        return True

    def _late(self, late: list[bool]) -> None:
        late.append(True)
        self.stop()


def _tls(options: dict[str, str]) -> ssl.SSLContext | None:
    tls = options.get("tls", "false")
    if tls == "false":
        return None
    insecure = tls == "skip-verify" or options.get("x-tls-insecure-skip-verify", "").lower() in ("1", "t", "true")
    try:
        return _context(
            insecure, options.get("x-tls-ca", ""), options.get("x-tls-cert", ""), options.get("x-tls-key", "")
        )
    except (OSError, ssl.SSLError) as error:
        raise ConnectError(
            "the certificates in the DSN cannot be used",
            detail=str(error),
            hint="look at x-tls-ca, x-tls-cert, x-tls-key",
        ) from None


@cache
def _context(insecure: bool, authority: str, certificate: str, key: str) -> ssl.SSLContext:
    """Return what is shared by all connections with the same certificates: making one takes 20 ms."""
    context = ssl.create_default_context(cafile=authority or None)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, key or None)
    return context


def _seconds(text: str) -> float | None:
    """Return a duration of Go, such as 30s or 1m30s, in seconds."""
    found = _DURATION.findall(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in found) or None if found else None
