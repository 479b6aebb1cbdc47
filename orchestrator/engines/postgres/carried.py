"""Session state of a file that runs statement by statement: what a later run restores before it continues.

Such a file behaves as in one psql session: what it SETs, by whatever means, lasts from statement to statement. What it
set is kept with the record of each statement, so that a later run can go on as if it were the same session.
"""

from __future__ import annotations

import json
from collections.abc import Callable

# Stands after the statements of the file, in their transaction: ours must neither obey nor change what the file has set.
# The search_path is what the session began with, as golang-migrate has it there: for triggers on the version table.
# Each SET LOCAL ends with the transaction, and what the file has SET is there again.
NEUTRAL = (
    "SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL ROLE TO DEFAULT; SET LOCAL search_path TO DEFAULT; "
    "SET LOCAL row_security TO DEFAULT; SET LOCAL lock_timeout TO DEFAULT; SET LOCAL statement_timeout TO DEFAULT; "
    "SET LOCAL synchronous_commit TO DEFAULT; SET LOCAL client_min_messages = warning; "
)
# Deferred constraints are checked, and their triggers run, while all is as the file has set it.
END_OF_FILE = "SET CONSTRAINTS ALL IMMEDIATE; "
BEGIN_RECORD = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "

# How a transaction was begun, and what orch sets for every session of its own.
_OURS = "^(transaction|idle_in_transaction|idle_session|tcp_keepalives|client_connection_check)_"
# How a transaction was begun is no setting of the session, and our own limits may be others when the file goes on.
_STATE = """(SELECT coalesce(pg_catalog.jsonb_object_agg(name, setting)::text, '{{}}') FROM (
        SELECT name, setting FROM pg_catalog.pg_settings WHERE source = 'session' AND name !~ '{ours}'
        AND NOT (name = 'lock_timeout' AND {lock}) AND NOT (name = 'statement_timeout' AND {statement})
        UNION ALL SELECT 'role', pg_catalog.current_setting('role') WHERE pg_catalog.current_setting('role') <> 'none'
        UNION ALL SELECT 'session_authorization', session_user::text WHERE session_user <> {login}
    ) AS state)"""


def keep(table: str, version: int, attempt: int, login: str, limits: tuple[float | None, float | None] | None) -> str:
    """Return a transaction that keeps the state of the session in the record of an attempt.

    It comes after the commit of a statement: before it, what was SET LOCAL would be taken for a setting of the session.
    `login` is a literal; `limits` are the seconds that we have SET as lock_timeout and statement_timeout. None: these are
    all ours.
    """
    lock, statement = "true", "true"
    if limits is not None:
        lock, statement = ("false" if one is None else f"setting = '{round(one * 1000)}'" for one in limits)
    state = _STATE.format(ours=_OURS, lock=lock, statement=statement, login=login)
    now = "pg_catalog.current_setting('orch.session')"
    return (
        f"{BEGIN_RECORD}SELECT pg_catalog.set_config('orch.session', {state}, true); {NEUTRAL}"
        f"UPDATE {table} SET session = {now} WHERE version = {version} AND attempt = {attempt} "
        f"AND session IS DISTINCT FROM {now}; COMMIT; "
    )


def kept(table: str, version: int, attempt: int, applied: int) -> str:
    """Return the query for what was kept when so many statements of a version were done."""
    return (
        f"SELECT pg_catalog.to_jsonb(h) ->> 'session' FROM {table} h WHERE version = {version} AND attempt <= {attempt} "
        f"AND applied = {applied} AND NOT done AND pg_catalog.to_jsonb(h) ->> 'session' <> '' ORDER BY attempt DESC LIMIT 1"
    )


def restore(state: str, literal: Callable[[str], str]) -> str:
    """Return SQL that sets a session as it was kept, once everything is set that the text of the file tells."""
    settings: dict[str, str] = json.loads(state)
    user, role = settings.pop("session_authorization", ""), settings.pop("role", "")
    names = ", ".join(map(literal, [*settings, "lock_timeout", "statement_timeout", "client_encoding"]))
    parts = [
        "RESET SESSION AUTHORIZATION; RESET ROLE; SELECT pg_catalog.set_config(name, reset_val, false) "
        f"FROM pg_catalog.pg_settings WHERE source = 'session' AND name !~ '{_OURS}' AND name NOT IN ({names}); "
    ]
    settings = {**settings, **({"session_authorization": user} if user else {}), **({"role": role} if role else {})}
    parts += (
        f"SELECT pg_catalog.set_config({literal(name)}, {literal(value)}, false); " for name, value in settings.items()
    )
    return "".join(parts)
