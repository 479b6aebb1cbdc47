"""A proxy before MySQL or MariaDB that shares sessions of the server among messages, and does not know what a session holds."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from orchestrator.embedded import Server

Choice = Callable[[int, bytes], bool]
"""Of the number of a message after the login, from 0, and its text: whether a second session gets it."""


def turns(every: int) -> Choice:
    """Let each session have so many messages in turn."""
    return lambda number, _: number // every % 2 == 1


def reads(_: int, message: bytes) -> bool:
    """Let the second session have what only reads, as far as the first word tells."""
    return message[:6].upper() in (b"SELECT", b"SHOW C", b"SHOW W")


class Multiplexer:
    """Listens on a port of its own."""

    def __init__(self, server: Server, database: str, choice: Choice) -> None:
        self._server, self._database, self._choice = server, database, choice
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        self._over = True
        self._listener.close()

    def _accept(self) -> None:
        while not self._over:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _second(self) -> Any:
        server = self._server
        login: dict[str, Any] = {
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "password": server.password,
        }
        for database in (self._database, None):  # it may not be there yet
            with contextlib.suppress(pymysql.Error):
                return pymysql.connect(**login, database=database, autocommit=True, client_flag=CLIENT.MULTI_STATEMENTS)
        raise OSError

    def _serve(self, client: socket.socket) -> None:
        first = socket.create_connection((self._server.host, self._server.port))
        with contextlib.suppress(OSError), client, first, contextlib.closing(self._second()) as connection:
            second = connection._sock
            number, answered, now = 0, True, first
            while not self._over:
                for end in select.select([client, first, second], [], [], 0.2)[0]:
                    data = end.recv(1 << 20)
                    if not data:
                        return
                    if end is not client:
                        answered = True
                        client.sendall(data)
                        continue
                    if answered and data[3:4] == b"\0":  # a command begins, not a part of the login
                        now = second if self._choice(number, data[5:]) else first
                        number += 1
                    answered = False
                    now.sendall(data)


@contextmanager
def multiplexed(server: Server, database: str, choice: Choice) -> Iterator[Multiplexer]:
    """Run such a proxy before this server."""
    made = Multiplexer(server, database, choice)
    try:
        yield made
    finally:
        made.close()
