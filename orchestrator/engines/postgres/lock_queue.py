"""Table locks: which statements make readers wait behind them, and which sessions block them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from orchestrator.engines.base import Limits
from orchestrator.engines.postgres.progress import progress
from orchestrator.errors import StatementError
from orchestrator.model import Activity, Blocking, Statement

LOCK_NOT_AVAILABLE = "55P03"
SHOWN = 3  # of the sessions in the way
# These take no lock that readers wait for: a long UPDATE may wait for a row without stopping anybody, and need not begin again.
_HARMLESS = re.compile(r"(?:SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES|SET|RESET|ANALYZE)\b[^;]*$", re.IGNORECASE)
# Of what runs outside of a transaction these lock a table as ALTER does.
_LOCKS_ALONE = re.compile(r"(?:CLUSTER|REINDEX|VACUUM)\b(?!.*\bCONCURRENTLY\b)", re.IGNORECASE | re.DOTALL)

_BLOCKING = """SELECT b.pid, a.usename, a.application_name, coalesce(pg_catalog.host(a.client_addr), 'local'), a.backend_type,
        a.state, a.wait_event_type, extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start))::float8,
        a.query, a.query = '<insufficient privilege>'
    FROM (SELECT DISTINCT pg_catalog.unnest(pg_catalog.pg_blocking_pids({pid})) AS pid) AS b
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid ORDER BY 8 DESC NULLS LAST, 1"""


def limits_together(statements: Sequence[Statement], limits: Limits) -> Limits:
    """Return the limits for statements that run in one transaction: short ones where readers would queue behind it."""
    return limits if all(_HARMLESS.match(statement.source) for statement in statements) else limits.in_queue


def limits_alone(statement: Statement, limits: Limits) -> Limits:
    """Return the limits for a statement outside of a transaction. CONCURRENTLY stops no reader while it waits."""
    return limits.in_queue if _LOCKS_ALONE.match(statement.source) else limits


@contextmanager
def timed(limits: Limits) -> Iterator[None]:
    """Let an error for a lock that was not free in time say how long that was."""
    try:
        yield
    except StatementError as error:
        if error.code == LOCK_NOT_AVAILABLE:
            error.waited = limits.lock_timeout or 0.0
        raise


def watching(connection: psycopg.Connection[Any], pid: int) -> Callable[[], Activity]:
    """Return a function that asks over this connection how far the backend `pid` is, and which sessions it waits for."""

    def look() -> Activity:
        found = Activity()
        with suppress(psycopg.Error):
            rows = connection.execute(_BLOCKING.format(pid=int(pid)).encode()).fetchall()
            found = Activity(blocking=_blocking(rows) if rows else None)
            found = progress(connection, int(pid))._replace(blocking=found.blocking)
        return found

    return look


def _blocking(rows: Sequence[Sequence[Any]]) -> Blocking:
    pids = [row[0] for row in rows if row[0]]
    ages = [row[7] for row in rows if row[7] is not None]
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    ends = " ".join(f"SELECT pg_terminate_backend({pid});" for pid in pids[:SHOWN])
    return Blocking(
        ", ".join(_who(row) for row in rows[:SHOWN]) + more,
        "\n".join(f"blocked by {_doing(row)}" for row in rows[:SHOWN]),
        f"wait until that session is done and run again; or end it, if you know what it does: {ends}"
        if pids
        else "a prepared transaction holds the lock: look into pg_prepared_xacts, then COMMIT PREPARED or ROLLBACK PREPARED",
        datetime.now(UTC) - timedelta(seconds=max(ages)) if ages else None,
    )


def _who(row: Sequence[Any]) -> str:
    pid, user, application, _, kind, *_ = row
    if not pid:
        return "a prepared transaction"
    names = ", ".join(name for name in (user and f"user {user}", application) if name)
    return f"backend {pid} ({names or kind or 'unknown'})"


def _doing(row: Sequence[Any]) -> str:
    _, _, _, address, kind, state, wait, age, query, hidden = row
    facts = [] if kind in (None, "client backend") else [kind]
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
