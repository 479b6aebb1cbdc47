"""Compute the expensive key of a SCRAM login once for each server instead of once for each connection.

A password becomes a key by PBKDF2, in 4,096 rounds or as many as the server asks for (RFC 5802): 2.6 ms of libpq for each
connection, in which no other thread of Python runs. From version 18 on libpq takes the finished keys instead. What they
depend on besides the password, a role's salt and rounds, stays as it is, and libpq shows it in the trace of a login.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.engines.postgres import libpq
from orchestrator.patterns import regex

if TYPE_CHECKING:
    from orchestrator.engines.postgres.libpq import AnyConnection

SECONDS = 10.0  # for each of the two logins that it takes to learn a salt, unless connect_timeout is shorter
WORTH_IT = 2  # logins with the password that worked before
PATIENCE = 0.05  # seconds that others wait for what is being learnt; a password would take that long for all of them
_CHALLENGE = regex(r"\tB\t\d+\tAuthenticationSASLContinue\t .*,s=([^,']+),i=(\d+)'$", re.MULTILINE)
_ACCEPTED = "\tAuthenticationSASLFinal\t"


class ScramKeys:
    """The keys of every login that is used often enough. They are as secret as the password."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._worked: Counter[str] = Counter()
        self._places: dict[str, dict[str, str]] = {}  # of logins whose salt is still to be learnt
        self._learnt: dict[str, threading.Event] = {}  # of logins that are worth it
        self._known: dict[str, dict[str, str]] = {}

    def of(self, login: str, url: str, parameters: Mapping[str, str]) -> dict[str, str]:
        """Return what to connect with besides these parameters: keys, and the one server that they are for.

        Empty where the password has to do. Whoever comes first after enough logins learns the salt, in the place
        of the connection that it has not made yet: no more are open at a time than without. Never raises.
        """
        with self._mutex:
            place = self._places.pop(login, None)
            learnt = self._learnt.get(login)
        if learnt is None:
            return {}
        if place is None:
            learnt.wait(PATIENCE)
        else:
            try:
                keys = _learn(url, {**parameters, **place})
                self._known[login] = {**keys, **place} if keys else {}
            finally:
                learnt.set()
        return self._known.get(login, {})

    def worked(self, login: str, connection: AnyConnection) -> None:
        """Take note of a login with the password. After `WORTH_IT` of them its key is learnt."""
        with self._mutex:
            self._worked[login] += 1
            if self._worked[login] >= WORTH_IT and login not in self._learnt:
                self._learnt[login] = threading.Event()
                info = connection.info
                place = {"host": info.host, "hostaddr": info.hostaddr, "port": str(info.port)}
                self._places[login] = {name: value for name, value in place.items() if value}  # a socket has no address

    def give_up(self, login: str) -> None:
        """Take the password from now on: the server had another salt than before, or is gone."""
        self._known[login] = {}


def _learn(url: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Log in twice: a server that stands in for others, or makes salts up, shows two different ones."""
    import hmac

    found = libpq.library()
    if found is None or found.PQlibVersion() < 180000 or "scram_client_key" in url:
        return {}
    given = [("dbname", url), *((name, str(value)) for name, value in parameters.items())]
    try:
        seconds = min(SECONDS, float(parameters["connect_timeout"]) or SECONDS)
        first = _challenge(given, seconds)
        if first is None or _challenge(given, seconds) != first:
            return {}
    except (libpq.Failed, OSError, ValueError):
        return {}
    password, salt, rounds = first
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, rounds)
    names = {"scram_client_key": b"Client Key", "scram_server_key": b"Server Key"}
    return {name: b64encode(hmac.digest(salted, label, "sha256")).decode() for name, label in names.items()}


def _challenge(parameters: Sequence[tuple[str, str]], seconds: float) -> tuple[bytes, bytes, int] | None:
    """Log in, and return the password with the salt and the rounds that the server asked for; None if it did not.

    (A password beyond ASCII would have to be prepared as RFC 4013 says before it is used.)
    """
    trace = os.memfd_create("libpq")
    try:
        connection = libpq.Connection(parameters, seconds, trace)
        password = connection.password
        connection.close()
        written = os.pread(trace, 100_000, 0).decode(errors="replace")
    finally:
        os.close(trace)
    found = _CHALLENGE.search(written)
    if found is None or _ACCEPTED not in written or not password or not password.isascii():
        return None
    return password, b64decode(found[1]), int(found[2])
