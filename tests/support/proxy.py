"""A small TCP proxy that spoils one connection at a chosen moment: it cuts, half-closes or delays."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Harm = Literal["cut before", "cut after", "half close", "deaf", "delay", "hold"]
HARMS: tuple[Harm, ...] = ("cut before", "cut after", "half close", "deaf", "delay")


@dataclass
class Rule:
    """At the `number`th message of a client that holds `mark`: do `harm`.

    cut before: the message never reaches the server. cut after: it does, and its reply never comes back. half close: the
    server gets the message and then the end of the stream. deaf: the client gets the end of the stream at once, while the
    server works on. delay: the reply is a second late. hold: the reply is there (`answered`) and comes on when the test
    sets `released`, or after a minute. `down` seconds long nobody gets a connection after that.
    """

    mark: bytes
    number: int
    harm: Harm
    down: float = 0.0
    seen: int = 0
    struck: bool = False
    answered: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Listens on a port of its own, and passes everything on to a server, but for what the rule spoils."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._mutex = threading.Lock()
        self._rule: Rule | None = None
        self._down_until = 0.0
        self._open: set[socket.socket] = set()
        self._over = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def spoil(self, rule: Rule) -> None:
        """From now on this rule holds, instead of the one before."""
        with self._mutex:
            self._rule, self._down_until = rule, 0.0

    def close(self) -> None:
        """End it, with all connections."""
        self._over = True
        self._listener.close()
        with self._mutex:
            for end in self._open:
                end.close()

    def _accept(self) -> None:
        while not self._over:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if time.monotonic() < self._down_until:
                _reset(client)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), socket.create_connection(self._upstream) as server, client:
            with self._mutex:
                self._open |= {client, server}
            ends = {client: server, server: client}
            while ends:
                for end in select.select(list(ends), [], [], 0.5)[0]:
                    data = end.recv(1 << 20)
                    if end is client and (rule := self._strikes(data)):
                        self._strike(rule, client, server, data)
                        if rule.harm not in ("delay", "hold"):
                            return
                    elif data:
                        ends[end].sendall(data)
                    else:
                        return
                if self._over:
                    return

    def _strikes(self, data: bytes) -> Rule | None:
        with self._mutex:
            rule = self._rule
            if rule is None or rule.struck or rule.mark not in data:
                return None
            rule.seen += 1
            rule.struck = rule.seen == rule.number
            if rule.struck:
                self._down_until = time.monotonic() + rule.down
            return rule if rule.struck else None

    def _strike(self, rule: Rule, client: socket.socket, server: socket.socket, data: bytes) -> None:
        if rule.harm == "cut before":
            _reset(client)
            return
        server.sendall(data)
        if rule.harm == "delay":
            time.sleep(1)
        elif rule.harm == "hold":
            select.select([server], [], [], 60)
            rule.answered.set()
            rule.released.wait(60)
        elif rule.harm == "half close":
            server.shutdown(socket.SHUT_WR)
            time.sleep(0.3)
        elif rule.harm == "deaf":
            client.shutdown(socket.SHUT_WR)
            time.sleep(0.3)
        else:
            select.select([server], [], [], 5)  # it has answered, so it has done it; nobody hears of that
            _reset(client)


def _reset(end: socket.socket) -> None:
    """Close with RST, as a router that forgot the connection does."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    end.close()


@contextmanager
def proxied(host: str, port: int) -> Iterator[Proxy]:
    """Run a proxy before this server."""
    proxy = Proxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
