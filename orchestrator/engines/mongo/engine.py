"""MongoDB through pymongo: parsing, connecting, one client a server."""

from __future__ import annotations

import re
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from orchestrator.engines.base import Confined, Copies
from orchestrator.engines.mongo import errors, first_contact
from orchestrator.engines.mongo.migration_file import parse_commands
from orchestrator.engines.mongo.records import ServerNames
from orchestrator.engines.mongo.session import MongoSession
from orchestrator.errors import ConnectError
from orchestrator.model import (
    CreateOptions,
    File,
    Script,
    Target,
)

_SERVER_SELECTION_TIMEOUT = 5  # seconds, unless the DSN says otherwise
_SHORTEST_TRY = 1  # seconds; for a server far away


class Mongo:
    """The engine for MongoDB 5.0 and later, replica set or standalone."""

    name = "mongo"

    def __init__(self, actor: str, run_id: str) -> None:
        self._actor = actor
        self._run_id = run_id
        self._mutex = threading.Lock()
        self._clients: dict[str, tuple[MongoClient[Any], bool, ServerNames]] = {}
        self._valid: set[str] = set()
        self._unready: dict[str, tuple[float, ConnectError]] = {}

    def parse(self, file: File, text: str, *, piecewise: bool = False) -> Script:  # noqa: ARG002 - it always is
        """Return the commands of an Extended JSON file."""
        return parse_commands(file, text)

    def confine(self, script: Script, database: str, scratch: str) -> Confined:
        """Return the commands with the copy's name for that of the database."""
        from orchestrator.engines.mongo.reach import confine

        return confine(script, database, scratch)

    def check(self, target: Target) -> None:
        """Look at the options of the DSN. What the driver can do without, such as a compressor, is passed over."""
        options = target.url.reveal().partition("?")[2]
        if options in self._valid:  # the members of a fleet have the same
            return
        with warnings.catch_warnings(action="ignore"):
            errors.check_options(target)
        self._valid.add(options)

    def create(self, target: Target, options: CreateOptions) -> bool:  # noqa: ARG002 - MongoDB has no such options
        """Do nothing: MongoDB makes a database with its first collection."""
        return False

    @contextmanager
    def connect(self, target: Target, until: float | None = None) -> Iterator[MongoSession]:
        """Open a session on the database, over the client that all databases of its server share."""
        client, transactions, servers = self._client(target, until)
        with errors.mapped(target), client.start_session() as session:
            yield MongoSession(client, session, target, transactions, self._actor, self._run_id, servers)

    def copies(self, target: Target, options: CreateOptions) -> Copies:  # noqa: ARG002 - PostgreSQL has options
        """Return the verbs for templates and clones."""
        from orchestrator.engines.mongo.copies import MongoCopies

        return MongoCopies(self._client(target)[0], target, self._actor, self._run_id)

    def close(self) -> None:
        """Close the clients. The next session opens another one: pymongo does not open a closed client again."""
        clients, self._clients = self._clients, {}
        for client, _, _ in clients.values():
            client.close()

    def _client(self, target: Target, until: float | None = None) -> tuple[MongoClient[Any], bool, ServerNames]:
        # Without authSource the login is looked up in the database of the URL: then a client serves that one only.
        url = target.url.reveal()
        key = target.server_key if "authSource=" in url or "@" not in url else target.url.id
        asked = time.monotonic()
        with self._mutex:
            if (found := self._clients.get(key)) is None:
                at, unready = self._unready.get(key, (0.0, None))
                if unready is not None and at >= asked:  # while we waited for our turn; another try would be as long
                    raise unready
                try:
                    found = self._clients[key] = self._opened(target, _try(until, first=unready is None))
                except ConnectError as error:
                    if error.transient:
                        self._unready[key] = (time.monotonic(), error)
                    raise
            return found

    def _opened(self, target: Target, patience: float | None) -> tuple[MongoClient[Any], bool, ServerNames]:
        with errors.connecting(target):
            defaults: dict[str, Any] = {
                "appname": f"orch/{self._run_id}",
                "tz_aware": True,
                "datetime_conversion": "DATETIME_AUTO",  # MongoDB has dates that Python has not
            }
            if "serverselectiontimeoutms" not in target.url.reveal().lower():
                defaults["serverSelectionTimeoutMS"] = _SERVER_SELECTION_TIMEOUT * 1000
            with warnings.catch_warnings(action="ignore"):  # what they say was checked
                client: MongoClient[Any] = MongoClient(_from_primary(target.url.reveal()), **defaults)
            try:
                with pymongo.timeout(patience):
                    hello = client.admin.command("hello")
                errors.refuse_unready(hello, target)
            except (PyMongoError, ConnectError) as error:
                known = first_contact.why(client, target, error)
                client.close()
                if known:
                    raise known from None
                raise
            return client, "setName" in hello or hello.get("msg") == "isdbgrid", _server_names(hello, client)


def _server_names(hello: dict[str, Any], client: MongoClient[Any]) -> ServerNames:
    """Return what the server calls itself, whatever the DSN calls it."""
    process = str(hello.get("topologyVersion", {}).get("processId", ""))
    if name := hello.get("setName"):
        hosts = (*hello.get("hosts", ()), *hello.get("passives", ()))
        return ServerNames(tuple(f"{name}/{host}" for host in hosts), process)
    host, port = client.address or ("", 0)
    return ServerNames((f"{host}:{port}",), process)


_READING = ("readpreference", "readpreferencetags", "maxstalenessseconds", "readconcernlevel")


def _from_primary(url: str) -> str:
    """Return the DSN without what it says of reading: that is for applications. A history is read from the primary."""
    start, _, query = url.partition("?")
    kept = [option for option in re.split("[&;]", query) if option.partition("=")[0].lower() not in _READING]
    return f"{start}?{'&'.join(kept)}" if query else url


def _try(until: float | None, *, first: bool) -> float | None:
    """Return how many seconds one of several tries may take: the first is short, so that a person is soon told of it."""
    if until is None:
        return None
    left = until - time.monotonic()
    return _SHORTEST_TRY if first else min(_SERVER_SELECTION_TIMEOUT, max(_SHORTEST_TRY, left / 4))
