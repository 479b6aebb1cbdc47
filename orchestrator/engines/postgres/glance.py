"""Read the history of one database, or the names of all on its server, over libpq alone.

It gives a whole answer or none. If it gives none, a session over psycopg has to look, and tells what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from orchestrator.engines.postgres import libpq
from orchestrator.engines.postgres.find_tables import Usual
from orchestrator.engines.postgres.lock_holder import asks_holder, holder_of
from orchestrator.engines.postgres.scram import ScramKeys
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
    if _has_to_be_a_session(target):
        return None
    with suppress(Exception):
        with _connected(target, application, slots, scram) as connection:
            seen = _look(connection, target, usual, extensions, whose_lock=whose_lock)
        return None if seen[0].read_only else seen
    return None


def database_names(target: Target, prefix: str, application: str, slots: Slots, scram: ScramKeys) -> list[str] | None:
    """Return the names of the databases of this target's server that begin so, oldest first. Never raises.

    None: the maintenance database has to be asked.
    """
    if _has_to_be_a_session(target):
        return None
    with suppress(Exception), _connected(target, application, slots, scram) as connection:
        begins = f"pg_catalog.starts_with(datname::text, {connection.literal(prefix)})"
        query = f"SELECT datname FROM pg_catalog.pg_database WHERE {begins} ORDER BY oid"  # noqa: S608 - libpq quotes it
        return [row[0] for row in connection.execute(query).fetchall()]
    return None


def _has_to_be_a_session(target: Target) -> bool:
    """Whether the target is one of several servers, or libpq cannot be called."""
    return "," in target.endpoint or libpq.library() is None


@contextmanager
def _connected(target: Target, application: str, slots: Slots, scram: ScramKeys) -> Iterator[libpq.Connection]:
    with slots.one(target.server_key):
        connection = _log_in(target, application, scram)
        slots.opened(target.server_key, connection)
    try:
        yield connection
    finally:
        connection.close()
        slots.closed()


def _log_in(target: Target, application: str, scram: ScramKeys) -> libpq.Connection:
    url, server = target.url.reveal(), target.server_key
    ours = {"application_name": application, "client_encoding": "utf8"}
    keys = scram.of(server, url, {**ours, "connect_timeout": "10", "gssencmode": "disable"})
    # What stands before the DSN is what it may say otherwise.
    parameters = [("gssencmode", "disable"), *libpq.KEEPALIVES.items(), ("dbname", url), *ours.items(), *keys.items()]
    connection = libpq.Connection(parameters, PATIENCE)
    if not keys and connection.used_password:
        scram.worked(server, connection)
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
