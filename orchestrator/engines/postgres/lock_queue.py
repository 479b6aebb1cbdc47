"""Table locks: which statements make readers wait behind them, and which sessions block them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from orchestrator.engines.base import Limits
from orchestrator.errors import StatementError
from orchestrator.model import Activity, Blocking, Statement, telling

_LOCK_NOT_AVAILABLE = "55P03"
SHOWN = 3  # of the sessions in the way
# These take no lock that readers wait for: a long UPDATE may wait for a row without stopping anybody, and need not begin again.
_HARMLESS = re.compile(r"(?:SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES|SET|RESET|ANALYZE)\b[^;]*$", re.IGNORECASE)
# Of what runs outside of a transaction these lock a table as ALTER does.
_LOCKS_ALONE = re.compile(r"(?:CLUSTER|REINDEX|VACUUM)\b(?!.*\bCONCURRENTLY\b)", re.IGNORECASE | re.DOTALL)

_BLOCKING = """SELECT b.pid, a.usename, a.application_name, coalesce(pg_catalog.host(a.client_addr), 'local'), a.backend_type,
        a.state, a.wait_event_type, extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start))::float8,
        a.query, a.query = '<insufficient privilege>', pg_catalog.current_setting('deadlock_timeout')
    FROM (SELECT DISTINCT pg_catalog.unnest(pg_catalog.pg_blocking_pids({pid})) AS pid) AS b
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid ORDER BY 8 DESC NULLS LAST, 1"""
# A prepared transaction has no backend: it is known by the lock on its own number, which it holds beside the others.
_PREPARED = """SELECT DISTINCT x.gid, x.owner, extract(epoch FROM clock_timestamp() - x.prepared)::float8
    FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_locks h ON h.granted AND h.pid IS NULL AND h.locktype = w.locktype
        AND h.database IS NOT DISTINCT FROM w.database AND h.relation IS NOT DISTINCT FROM w.relation
        AND h.transactionid IS NOT DISTINCT FROM w.transactionid
    JOIN pg_catalog.pg_locks t ON t.pid IS NULL AND t.locktype = 'transactionid' AND t.virtualtransaction = h.virtualtransaction
    JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = t.transactionid
    WHERE w.pid = {pid} AND NOT w.granted ORDER BY 3 DESC"""


def limits_together(statements: Sequence[Statement], limits: Limits) -> Limits:
    """Return the limits for statements that run in one transaction: short ones where readers would queue behind it."""
    harmless = all(_HARMLESS.match(statement.source) for _, statement in telling(statements))
    return limits if harmless else limits.in_queue


def limits_alone(statement: Statement, limits: Limits) -> Limits:
    """Return the limits for a statement outside of a transaction. CONCURRENTLY stops no reader while it waits."""
    return limits.in_queue if _LOCKS_ALONE.match(statement.source) else limits


@contextmanager
def timed(limits: Limits) -> Iterator[None]:
    """Let an error for a lock that was not free in time say how long that was."""
    try:
        yield
    except StatementError as error:
        if error.code == _LOCK_NOT_AVAILABLE:
            error.waited = limits.lock_timeout or 0.0
        raise


def watching(connection: psycopg.Connection[Any], pid: int) -> Callable[[], Activity]:
    """Return a function that asks over this connection how far the backend `pid` is, and which sessions it waits for."""
    from orchestrator.engines.postgres.progress import progress

    def look() -> Activity:
        found = Activity()
        with suppress(psycopg.Error):
            rows = connection.execute(_BLOCKING.format(pid=int(pid)).encode()).fetchall()
            prepared: list[Any] = []
            if any(not row[0] for row in rows):
                prepared = connection.execute(_PREPARED.format(pid=int(pid)).encode()).fetchall()
            found = Activity(blocking=_blocking(rows, prepared) if rows else None)
            found = progress(connection, int(pid))._replace(blocking=found.blocking)
        return found

    return look


def _blocking(rows: Sequence[Sequence[Any]], prepared: Sequence[Sequence[Any]]) -> Blocking:
    named = [(_transaction(gid), f"of user {user}, prepared {_age(age)} ago") for gid, user, age in prepared]
    who = [(_who(row), _doing(row)) for row in rows if row[0] or not named]
    who += [(name, f"{name} {what}") for name, what in named]
    ages = [age for age in (*(row[7] for row in rows), *(age for *_, age in prepared)) if age is not None]
    more = f" and {len(who) - SHOWN} more" if len(who) > SHOWN else ""
    return Blocking(
        ", ".join(name for name, _ in who[:SHOWN]) + more,
        "\n".join(f"blocked by {doing}" for _, doing in who[:SHOWN]),
        "\n".join(_ways_on(rows, [gid for gid, *_ in prepared])),
        datetime.now(UTC) - timedelta(seconds=max(ages)) if ages else None,
    )


def _ways_on(rows: Sequence[Sequence[Any]], prepared: Sequence[str]) -> Iterator[str]:
    """Yield what a person can do about each kind of session in the way."""
    vacuums = [row for row in rows if row[4] == "autovacuum worker"]
    pids = [row[0] for row in rows if row[0] and row not in vacuums]
    if pids:
        ends = " ".join(f"SELECT pg_terminate_backend({pid});" for pid in pids[:SHOWN])
        one = "wait until that session is done and run again; or end it, if you know what it does"
        several = "wait until those sessions are done and run again; or end them, if you know what they do"
        yield f"{one if len(pids) == 1 else several}: {ends}"
    if any("to prevent wraparound" in (row[8] or "") for row in vacuums):
        yield "that autovacuum must not be stopped, and gives way to nobody: run again when it is done"
    elif vacuums:
        yield (
            f"autovacuum gives way to a session that waits longer than deadlock_timeout ({vacuums[0][10]}) in one try: set "
            "lock_try above that for this file (-- orch: lock_try=…), or run again when it is done"
        )
    if prepared:
        ends = " ".join(f"ROLLBACK PREPARED {_quoted(gid)};" for gid in prepared[:SHOWN])
        yield f"finish the prepared transaction, in its database: COMMIT PREPARED, or {ends}"
    elif any(not row[0] for row in rows):
        yield "a prepared transaction holds the lock: look into pg_prepared_xacts, then COMMIT PREPARED or ROLLBACK PREPARED"


def _quoted(gid: str) -> str:
    return "'" + gid.replace("'", "''") + "'"


def _transaction(gid: str) -> str:
    return f"the prepared transaction {_quoted(gid)}"


def _who(row: Sequence[Any]) -> str:
    pid, user, application, _, kind, *_ = row
    if not pid:
        return "a prepared transaction"
    names = ", ".join(name for name in (user and f"user {user}", application) if name)
    return f"backend {pid} ({names or kind or 'unknown'})"


def _doing(row: Sequence[Any]) -> str:
    _, user, application, address, kind, state, wait, age, query, hidden, _ = row
    facts = [kind] if kind not in (None, "client backend") and (user or application) else []
    if address is not None and kind == "client backend":
        facts.append("local" if address == "local" else f"from {address}")
    facts += [state] if state else []
    facts += ["itself waiting for a lock"] if wait == "Lock" else []
    facts += [f"its transaction began {_age(age)} ago"] if age is not None else []
    text = f"{_who(row)}: {', '.join(facts)}" if facts else _who(row)
    if hidden:
        return f"{text}; this login may not see its query (GRANT pg_read_all_stats)"
    words = " ".join((query or "").split())
    if not words:
        return text
    return f"{text}; {'query' if state == 'active' else 'last query'}: {words}"


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
