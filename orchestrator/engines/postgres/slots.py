"""Limit the connections of a run to a server that allows only a few: others wait until one is closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.engines.postgres.libpq import AnyConnection

LOOK_EVERY = 0.25  # seconds; at our own connections, not at the server
_LONGEST_WAIT = 600.0  # seconds


class Slots:
    """What is known of how many connections each server gives to this run. Nothing is limited until one was refused."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: dict[str, list[tuple[int, AnyConnection]]] = {}  # by server, with the thread that opened it
        self._connecting: dict[str, int] = {}
        self._limits: dict[str, int] = {}

    def are_few(self, server: str) -> bool:
        """Whether the server has refused a connection: then none is kept for later."""
        return server in self._limits

    @contextmanager
    def one(self, server: str, until: float | None = None) -> Iterator[None]:
        """Connect in this block: it begins once this run has fewer connections than the server gave it before.

        A thread that has a connection to the server does not wait: it would wait for itself.
        """
        longest = time.monotonic() + _LONGEST_WAIT
        end = longest if until is None else min(longest, until)
        with self._changed:
            while self._is_full(server) and time.monotonic() < end:
                self._changed.wait(LOOK_EVERY)
            self._connecting[server] = self._connecting.get(server, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._connecting[server] -= 1
                self._changed.notify_all()

    def opened(self, server: str, connection: AnyConnection) -> None:
        """Take note of a connection."""
        with self._changed:
            self._open[server] = [*self._still_open(server), (threading.get_ident(), connection)]

    def refused(self, server: str) -> bool:
        """Take note that the server had no connection left; return whether one of another thread can be waited for."""
        with self._changed:
            threads = [thread for thread, _ in self._still_open(server)]
            self._limits[server] = max(1, len(threads))
            return bool(threads) and threading.get_ident() not in threads

    def closed(self) -> None:
        """Let those who wait look again."""
        with self._changed:
            self._changed.notify_all()

    def _is_full(self, server: str) -> bool:
        if (limit := self._limits.get(server)) is None:
            return False
        threads = [thread for thread, _ in self._still_open(server)]
        if threading.get_ident() in threads:
            return False
        return len(threads) + self._connecting.get(server, 0) >= limit

    def _still_open(self, server: str) -> list[tuple[int, AnyConnection]]:
        return [one for one in self._open.get(server, ()) if not one[1].closed]
