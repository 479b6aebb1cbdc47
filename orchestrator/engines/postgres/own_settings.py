"""Settings of orch's own session while it holds the migration lock: no timeouts, and detection of a dead client."""

from __future__ import annotations

# Role and database may set them, for applications: a migration is no idle session, and may take its time.
_LIFTED = {
    "idle_in_transaction_session_timeout": 90600,
    "idle_session_timeout": 140000,
    "transaction_timeout": 170000,
}  # setting → the server version that has it
_KEEPALIVES = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "6"}
# Without it the server runs a statement to its end for a client that is gone. Elsewhere it cannot be set.
_CHECKED = "client_connection_check_interval"
_CHECK_EVERY, _CHECKS = "10s", "{%linux%,%darwin%,%apple%,%freebsd%}"


def own_settings(server_version: int, options: str) -> str:
    """Return SQL expressions that make the settings, each after a comma; what the DSN's `options` set stays as it is."""
    settings = dict.fromkeys((name for name, since in _LIFTED.items() if server_version >= since), "0") | _KEEPALIVES
    calls = [_set(name, value) for name, value in settings.items() if name not in options]
    if server_version >= 140000 and _CHECKED not in options:
        calls.append(f"CASE WHEN pg_catalog.version() LIKE ANY ('{_CHECKS}') THEN {_set(_CHECKED, _CHECK_EVERY)} END")
    return "".join(f", {call}" for call in calls)


def _set(name: str, value: str) -> str:
    return f"pg_catalog.set_config('{name}', '{value}', false)"
