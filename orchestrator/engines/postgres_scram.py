"""The costly step of a SCRAM login, taken once for a server and not once for every database.

A password becomes a key by PBKDF2, in 4,096 rounds or as many as the server asks for (RFC 5802): 2.6 ms of libpq for each
connection, in which no other thread of Python runs. From version 18 on libpq takes the finished keys instead. What they
depend on besides the password, a role's salt and rounds, stays as it is, and libpq shows it in the trace of a login.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import select
import sys
import threading
import time
from base64 import b64decode, b64encode
from collections import Counter

from psycopg import Error, pq
from psycopg.conninfo import make_conninfo

SECONDS = 10.0  # for each of the two
WORTH_IT = 3  # connections with one login, before the two that it takes to learn its salt
_CHALLENGE = re.compile(r"\tB\t\d+\tAuthenticationSASLContinue\t .*,s=([^,']+),i=(\d+)'$", re.MULTILINE)
_ACCEPTED = "\tAuthenticationSASLFinal\t"


class ScramKeys:
    """The keys of every login that is used often enough. They are as secret as the password."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._keys: dict[str, dict[str, str]] = {}

    def of(self, login: str, url: str, parameters: dict[str, str]) -> dict[str, str]:
        """Return the libpq parameters that hold the keys of this login, none where the password has to do.

        `url` and `parameters` are those of a connection with it. Never raises.
        """
        with self._mutex:
            self._asked[login] += 1
            if self._asked[login] != WORTH_IT:
                return self._keys.get(login, {})
        keys = _learn(url, parameters)
        with self._mutex:
            self._keys[login] = keys
        return keys

    def give_up(self, login: str) -> None:
        """Take the password from now on: the server had another salt than before."""
        with self._mutex:
            self._keys[login] = {}


def _learn(url: str, parameters: dict[str, str]) -> dict[str, str]:
    """Log in twice: a server that stands in for others, or makes salts up, shows two different ones."""
    if sys.platform != "linux" or pq.version() < 180000 or "scram_client_key" in url:
        return {}
    try:
        conninfo = make_conninfo(url, **parameters).encode()
        first, second = _challenge(conninfo), _challenge(conninfo)
    except (Error, OSError):
        return {}
    if first is None or first != second:
        return {}
    password, salt, rounds = first
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, rounds)
    names = {"scram_client_key": b"Client Key", "scram_server_key": b"Server Key"}
    return {name: b64encode(hmac.digest(salted, label, "sha256")).decode() for name, label in names.items()}


def _challenge(conninfo: bytes) -> tuple[bytes, bytes, int] | None:
    """Log in, and return the password with the salt and the rounds that the server asked for; None if it did not.

    (A password beyond ASCII would have to be prepared as RFC 4013 says before it is used.)
    """
    trace = os.memfd_create("libpq")
    connection = pq.PGconn.connect_start(conninfo)
    try:
        connection.trace(trace)
        deadline = time.monotonic() + SECONDS
        while (status := connection.connect_poll()) not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
            waits = [connection.socket]
            reads, writes = (waits, []) if status == pq.PollingStatus.READING else ([], waits)
            if not any(select.select(reads, writes, [], max(0, deadline - time.monotonic()))):
                break
        password = connection.password
    finally:
        connection.untrace()  # which also writes out what was held back
        connection.finish()
        text = os.pread(trace, 100_000, 0).decode(errors="replace")
        os.close(trace)
    found = _CHALLENGE.search(text)
    if found is None or _ACCEPTED not in text or not password.isascii():
        return None
    return password, b64decode(found[1]), int(found[2])
