"""How `orch shell` calls the client of MySQL and MariaDB."""

from __future__ import annotations

from urllib.parse import unquote

from orchestrator.engines.dialect import ShellCall
from orchestrator.engines.mysql.dsn import network_of, split


def shell(url: str) -> ShellCall:
    """Return the call of mysql for a DSN; the password is in the environment, where other users do not see it."""
    parts = split(url)
    network = network_of(parts.network)
    where = (
        (f"--socket={network.socket}",)
        if network.socket
        else (f"--host={network.host.strip('[]')}", f"--port={network.port}", "--protocol=tcp")
    )
    password = unquote(parts.password)
    arguments = (*where, f"--user={unquote(parts.user)}", "--default-character-set=utf8mb4", unquote(parts.database))
    return ShellCall("mysql", arguments, {"MYSQL_PWD": password} if password else {}, "mariadb-client")
