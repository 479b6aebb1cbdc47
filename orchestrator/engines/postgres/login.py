"""Get the SQLSTATE of a failed login from libpq's trace: its error texts do not contain it."""

from __future__ import annotations

import os
import re
import select
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Error, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

# The code stands before the text of the message, which may hold names that users chose.
_REFUSED = re.compile(r'\tB\t\d+\tErrorResponse\t S "[^"\n]*" V "[^"\n]*" C "(\w{5})" M ')
_STARTS_TLS, _NO_TLS = "\tB\t1\tSSLResponse\t S", "\tB\t1\tSSLResponse\t N"  # shown by libpq 17 and later
_STARTING = "57P03"


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """One try to log in to one host. The trace may hold secrets: it is never printed."""

    connected: bool
    text: str
    trace: str

    @property
    def code(self) -> str:
        """The SQLSTATE of the server's refusal; empty if the server said none."""
        found = _REFUSED.search(self.trace)
        return found[1] if found else ""

    @property
    def answered(self) -> bool:
        """Whether a PostgreSQL server answered the login."""
        return any("\tB\t" in line and "\tSSLResponse" not in line for line in self.trace.splitlines())

    @property
    def failed_tls(self) -> bool:
        """Whether the server agreed to TLS, and nothing came after that."""
        return _STARTS_TLS in self.trace and not self.answered

    @property
    def lacks_tls(self) -> bool:
        """Whether the server speaks no TLS, and the login ended with that."""
        return _NO_TLS in self.trace and "\tF\t" not in self.trace.rpartition(_NO_TLS)[2]


def is_traceable() -> bool:
    """Return whether libpq can write its trace here."""
    return sys.platform == "linux" and pq.version() >= 140000


def _log_in(conninfo: str, seconds: float) -> Login:
    """Log in within `seconds`, and log out again. Raises OSError or psycopg.Error where the trace cannot be had."""
    trace = os.memfd_create("libpq")
    connection = pq.PGconn.connect_start(conninfo.encode())
    try:
        connection.trace(trace)
        deadline = time.monotonic() + seconds
        while (status := connection.connect_poll()) not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
            ready = select.poll()
            ready.register(connection.socket, select.POLLIN if status == pq.PollingStatus.READING else select.POLLOUT)
            if not ready.poll(max(0, deadline - time.monotonic()) * 1000):
                break
        text = connection.get_error_message()
    finally:
        connection.untrace()  # which also writes out what was held back
        connection.finish()
        written = os.pread(trace, 100_000, 0).decode(errors="replace")
        os.close(trace)
    return Login(status == pq.PollingStatus.OK, text, written)


def what_was_answered(url: str, parameters: Mapping[str, Any], seconds: float) -> Login | None:
    """Log in once more within `seconds`, to each host of the DSN; return the try that tells most, or None if it cannot be traced.

    A server that answered tells more than one that could not be reached or that is still starting.
    """
    if not is_traceable():
        return None
    tries: list[Login] = []
    try:
        for conninfo in _hosts(conninfo_to_dict(url, **parameters)):
            tries.append(_log_in(conninfo, seconds))
            if tries[-1].connected:
                return tries[-1]
    except (Error, OSError):
        return None
    return max(tries, key=_tells, default=None)


def _tells(login: Login) -> int:
    if login.code:
        return 4 if login.code != _STARTING else 3
    return 2 if login.answered else int(login.failed_tls)


def _hosts(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield a connection string for each host, as libpq pairs hosts, addresses and ports."""
    lists = {key: str(options[key]).split(",") for key in ("host", "hostaddr", "port") if options.get(key)}
    for index in range(max((len(values) for values in lists.values()), default=1)):
        yield make_conninfo(**{**options, **{key: _at(values, index) for key, values in lists.items()}})


def _at(values: Sequence[str], index: int) -> str:
    return values[index] if index < len(values) else values[-1]
