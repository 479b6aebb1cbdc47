"""Find the session that holds the advisory lock of a database, and describe it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.model import LockHolder

# One that began later may have the same pid: it is another one.
TERMINATE = """SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
    WHERE pid || coalesce(' ' || extract(epoch FROM backend_start)::text, '') = %s"""


_HOLDER = """SELECT l.pid, a.usename AS user, a.application_name AS application, pg_catalog.host(a.client_addr) AS address,
        a.backend_start AS since, a.state, l.pid || coalesce(' ' || extract(epoch FROM a.backend_start)::text, '') AS key
    FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = {key} AND l.database =
        (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) LIMIT 1"""


def asks_holder(key: int) -> str:
    """Return the query for the session that holds the advisory lock of this key, as JSON; NULL: nobody."""
    return f"SELECT (SELECT row_to_json(h) FROM ({_HOLDER.format(key=int(key))}) h)"  # noqa: S608 - ours alone


def holder_of(row: Mapping[str, Any] | None) -> LockHolder | None:
    """Return the holder that a row of `lock_holder` tells of. Of other logins a server may hide all but the user."""
    if row is None:
        return None
    since = datetime.fromisoformat(row["since"]).astimezone(UTC) if row["since"] else None
    who = row["application"] or "golang-migrate or another client"
    facts = [
        f"backend {row['pid']} from {row['address'] or 'local'}",
        *([f"user {row['user']}"] if row["user"] else []),
        row["state"] or "unknown",
        *([f"since {since:%Y-%m-%d %H:%M:%S} UTC"] if since else []),
    ]
    return LockHolder(f"{who} ({', '.join(facts)})", since, row["key"], alive=True)
