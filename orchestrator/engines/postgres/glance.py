"""Read the history of one database over libpq alone, where nothing keeps that from being the whole answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from orchestrator.engines.postgres import libpq
from orchestrator.engines.postgres.find_tables import Usual
from orchestrator.engines.postgres.lock_holder import asks_holder, holder_of
from orchestrator.engines.postgres.scram import WORTH_IMPORTING, ScramKeys
from orchestrator.engines.postgres.slots import Slots
from orchestrator.engines.postgres.tables import Tables
from orchestrator.model import History, LockHolder, Target

PATIENCE = 1.0  # seconds for the login; psycopg has as long as the DSN says


def glance(
    target: Target,
    extensions: Sequence[str],
    usual: Usual,
    application: str,
    slots: Slots,
    scram: ScramKeys,
    *,
    whose_lock: bool,
) -> tuple[History, LockHolder | None] | None:
    """Return the history, and with `whose_lock` who holds the lock, as a session would. Never raises.

    None: a session has to look, as where the server refused anything, accepts no writes or is one of several. It tells why.
    """
    if "," in target.endpoint or libpq.library() is None:
        return None
    with suppress(Exception):
        with slots.one(target.server_key):
            connection = _log_in(target, application, scram)
            slots.opened(target.server_key, connection)
        try:
            seen = _look(connection, target, usual, extensions, whose_lock=whose_lock)
        finally:
            connection.close()
            slots.closed()
        return None if seen[0].read_only else seen
    return None


def _log_in(target: Target, application: str, scram: ScramKeys) -> libpq.Connection:
    url, server = target.url.reveal(), target.server_key
    ours = {"application_name": application, "client_encoding": "utf8"}
    keys = scram.of(server, url, {**ours, "connect_timeout": "10", "gssencmode": "disable"})
    # What stands before the DSN is what it may say otherwise.
    parameters = [("gssencmode", "disable"), *libpq.KEEPALIVES.items(), ("dbname", url), *ours.items(), *keys.items()]
    connection = libpq.Connection(parameters, PATIENCE)
    if not keys and connection.used_password:
        scram.worked(server, connection, WORTH_IMPORTING)
    return connection


def _look(
    connection: libpq.Connection, target: Target, usual: Usual, extensions: Sequence[str], *, whose_lock: bool
) -> tuple[History, LockHolder | None]:
    tables = Tables(connection, target, usual)
    if found := tables.look_and_read(extensions, asks_holder if whose_lock else None):
        return found.history, holder_of(found.first)
    tables.look()
    if not whose_lock:
        return tables.read(extensions), None
    row = tables.ask(asks_holder(tables.lock_key()))
    return tables.read(extensions), holder_of(row[0])
