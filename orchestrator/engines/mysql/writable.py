"""Whether a server accepts writes. Some logins can write to a replica although it is read-only; orch must not do that."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import ConnectError
from orchestrator.model import ReadOnly, Target

READ_ONLY = "@@GLOBAL.read_only"
"""SQL of the variable that says so. MySQL's super_read_only turns it on too."""

IS_WRITABLE = f"CONCAT({READ_ONLY}) IN ('0', 'OFF')"
"""SQL of a condition that holds where a server takes writes."""


def is_on(value: Any) -> bool:
    """Whether a variable of the server is on: MariaDB and MySQL tell that in several ways."""
    return str(value) not in ("0", "OFF")


def read_only(target: Target) -> ReadOnly:
    """Return why nothing can be written on a server with read_only on."""
    return ReadOnly(
        f"{target.database_id} takes no writes: read_only is on at {target.endpoint}",
        "it may be a replica: give orch the DSN of the primary",
    )


def refuse(value: Any, target: Target) -> None:
    """Raise ConnectError if read_only has this value, and it is on."""
    if is_on(value):
        why = read_only(target)
        raise ConnectError(why.what, hint=why.hint)
