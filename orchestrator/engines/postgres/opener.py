"""From a DSN to a connection of psycopg: parameters, keys of a login, tries where no connection is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from orchestrator.engines.postgres.libpq import KEEPALIVES
from orchestrator.engines.postgres.lock import CONNECT_TIMEOUT
from orchestrator.engines.postgres.login import what_was_answered
from orchestrator.engines.postgres.refusals import MANY_CONNECTIONS, connect_error
from orchestrator.engines.postgres.scram import ScramKeys
from orchestrator.engines.postgres.slots import Slots
from orchestrator.errors import ConnectError
from orchestrator.model import Target

_OTHERS_TIMEOUT = 2.0  # seconds for each host, where one of several has timed out already
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 3.2)  # seconds between tries where no connection is left


class Opener:
    """Opens connections for one run. `let_go` closes those that wait for their next use."""

    def __init__(self, application: str, slots: Slots, scram: ScramKeys, let_go: Callable[[], None]) -> None:
        self._application = application
        self._slots = slots
        self._scram = scram
        self._let_go = let_go
        self._reached: set[str] = set()  # servers that this run has had a connection to

    def open(self, target: Target, until: float | None = None, **changes: str) -> psycopg.Connection[Any]:
        """Connect, with these parameters beside those of the DSN. ConnectError.

        `until` (time.monotonic): the caller tries again until then.
        """
        url = target.url.reveal()
        parameters: dict[str, Any] = {"application_name": self._application, "client_encoding": "utf8", **changes}
        if "keepalives" not in url:
            parameters |= KEEPALIVES
        try:
            # psycopg reads the DSN anyway; a second time, for each of many databases, only where it may say these.
            options = conninfo_to_dict(url) if "connect_timeout" in url or "gssencmode" in url else {}
            parameters.setdefault("connect_timeout", options.get("connect_timeout") or CONNECT_TIMEOUT)
            # Without this libpq asks for GSS encryption first: one more round trip for every database.
            parameters.setdefault("gssencmode", options.get("gssencmode") or "disable")
            if until is not None:  # whoever tries again need not be patient; libpq knows nothing below 2 s
                left = max(2, round(until - time.monotonic()))
                given = int(parameters["connect_timeout"])
                parameters["connect_timeout"] = min(given, left) if given > 0 else left  # else it would wait for ever
        except psycopg.Error as error:
            raise connect_error(error, target) from None
        server, pauses = target.server_key, iter(_PAUSES)
        while True:
            try:
                with self._slots.one(server, until):
                    connection = self._log_in(target, parameters)
                    self._slots.opened(server, connection)
                break
            except psycopg.Error as error:
                ours = self._why(error, target, parameters)
            if self._comes_free(ours, server, until):
                continue
            pause = next(pauses, None)
            if pause is None or not self._may_have_passed(ours, server, first=pause == _PAUSES[0]):
                raise ours
            time.sleep(pause)
        self._reached.add(server)
        return connection

    def _comes_free(self, error: ConnectError, server: str, until: float | None) -> bool:
        """Whether this run itself has the connections that are missing: `_slots` waits until it closes one."""
        if error.code != MANY_CONNECTIONS:
            return False
        self._let_go()
        return self._slots.refused(server) and (until is None or time.monotonic() < until)

    def _may_have_passed(self, error: ConnectError, server: str, *, first: bool) -> bool:
        """Whether to connect again after a pause: a server needs a moment to give away what was closed just now."""
        if error.code == MANY_CONNECTIONS:
            return first or server in self._reached
        passing = error.transient and not error.server_down and not error.code
        return passing and (first or self._slots.are_few(server))

    def _why(self, error: psycopg.Error, target: Target, parameters: dict[str, Any]) -> ConnectError:
        """Return our error for a login that failed; what the server answered is asked for by one more."""
        login = None
        late = isinstance(error, psycopg.errors.ConnectionTimeout)
        if "," in target.endpoint if late else error.pgconn is not None:
            patience = min(_OTHERS_TIMEOUT if late else CONNECT_TIMEOUT, float(parameters["connect_timeout"]) or 60)
            login = what_was_answered(target.url.reveal(), parameters, patience)
        return connect_error(error, target, login)

    def _log_in(self, target: Target, parameters: dict[str, Any]) -> psycopg.Connection[Any]:
        """Connect with the keys of the login, or where there are none, or they are refused, with its password."""
        connect = partial(psycopg.connect, target.url.reveal(), autocommit=True, prepare_threshold=None)
        if keys := self._scram.of(target.server_key, target.url.reveal(), parameters):
            try:
                return connect(**{**parameters, **keys})
            except psycopg.errors.ConnectionTimeout:
                self._scram.give_up(target.server_key)
                raise
            except psycopg.Error:  # perhaps another of its hosts is up, or the server made a new salt
                pass
        connection = connect(**parameters)
        if keys:
            self._scram.give_up(target.server_key)
        else:
            self._scram.worked(target.server_key, connection)
        return connection
