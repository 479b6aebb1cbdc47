"""How `orch shell` calls psql."""

from __future__ import annotations

from urllib.parse import unquote

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
    password = parts.get("password", "")
    if "://" in url:
        password = unquote(password)
    return ShellCall(
        "psql", (DSN.without_password(url),), {"PGPASSWORD": password} if password else {}, "postgresql-client"
    )
