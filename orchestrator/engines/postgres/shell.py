"""How `orch shell` calls psql."""

from __future__ import annotations

from orchestrator.engines.dialect import ShellCall
from orchestrator.engines.postgres.dsn import DSN
from orchestrator.engines.url import DsnError


def shell(url: str) -> ShellCall:
    """Return the call of psql for a DSN; DsnError for a secret that psql takes nowhere but on the command line.

    psql reads the password from PGPASSWORD: https://www.postgresql.org/docs/current/libpq-envars.html
    """
    parts, _ = DSN.parts(url)
    if parts.get("sslpassword"):
        raise DsnError("the DSN holds the password of a TLS key, and psql takes that on its command line alone")
    secrets = {"PGPASSWORD": parts.get("password", "")}
    shown = DSN.without_password(url)
    if DSN.within(shown) != DSN.within(url):  # of libpq's two places for settings of the session the DSN would win
        shown, secrets["PGOPTIONS"] = DSN.with_options(shown, ""), DSN.within(url)
    return ShellCall("psql", (shown,), {key: value for key, value in secrets.items() if value}, "postgresql-client")
