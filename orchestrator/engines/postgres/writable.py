"""Explain why a server or login accepts no writes, and name the primary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.model import ReadOnly, Target

if TYPE_CHECKING:
    from orchestrator.engines.postgres.libpq import AnyConnection

# What a session asks of itself, with whatever else it reads.
IN_RECOVERY, READ_ONLY = (
    "pg_catalog.pg_is_in_recovery()",
    "pg_catalog.current_setting('transaction_read_only')::boolean",
)
DATABASES = f"SELECT datname, {IN_RECOVERY}, {READ_ONLY} FROM pg_catalog.pg_database"  # noqa: S608 - ours alone
_STANDBY = "SELECT sender_host, sender_port FROM pg_catalog.pg_stat_wal_receiver"
_SOURCE = "SELECT source FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only'"


def read_only(connection: AnyConnection, target: Target, *, standby: bool) -> ReadOnly:
    """Return why this session can write nothing; `standby`: the server is one."""
    if standby:
        primary = _first(connection, _STANDBY)
        what = f"{target.endpoint} is a hot standby, which takes no writes"
        if primary and primary[0]:
            what += f"; its primary is {primary[0]}:{primary[1]}"
        return ReadOnly(
            what,
            "name the primary in the DSN, or all servers with target_session_attrs=read-write: "
            "postgres://…@host1,host2/{database}?target_session_attrs=read-write",
        )
    source = _first(connection, _SOURCE)
    where = {"database": "the database", "user": "the role", "database user": "the role in this database"}.get(
        source[0] if source else "", ""
    )
    return ReadOnly(
        f"{target.database_id} takes no writes: default_transaction_read_only is on"
        + (f", set on {where}" if where else ""),
        "if orch may write here: options=-cdefault_transaction_read_only%3Doff in its DSN",
    )


def _first(connection: AnyConnection, query: str) -> Any:
    try:
        return connection.execute(query.encode()).fetchone()
    except Exception as error:
        import psycopg

        if not isinstance(error, psycopg.Error):
            raise
        return None
