"""Connections to a server: how a DSN becomes one, and how a statement on it is stopped."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any
from urllib.parse import unquote

import pymysql
from pymysql.constants import CLIENT

from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.dsn import network_of, pairs_of, split, variables_of
from orchestrator.errors import ConnectError
from orchestrator.model import Target

CONNECT_TIMEOUT = 10  # seconds, unless the DSN says otherwise
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
        connection = pymysql.connect(
            user=unquote(parts.user) or None,
            password=unquote(parts.password),
            database=target.database if database else None,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=timeout or _seconds(options.get("timeout", "")) or CONNECT_TIMEOUT,
            read_timeout=_seconds(options.get("readTimeout", "")),
            write_timeout=_seconds(options.get("writeTimeout", "")),
            client_flag=CLIENT.FOUND_ROWS if options.get("clientFoundRows") == "true" else 0,
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


def ask(connection: Any, query: str) -> tuple[tuple[Any, ...], ...]:
    """Send one statement as it stands, and return its rows. Texts are str, after SET NAMES binary too."""
    connection.query(query)
    result = connection._result
    rows: tuple[tuple[Any, ...], ...] = tuple(result.rows) if result is not None and result.rows else ()
    return tuple(map(_decoded, rows)) if any(isinstance(cell, bytes) for row in rows for cell in row) else rows


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
        """Run a statement that is stopped after some seconds (0: never); the list is not empty if it was."""
        late: list[bool] = []
        with self._mutex:
            self._running = True
        timer = threading.Timer(seconds, self._late, (late,)) if seconds else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            yield late
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
