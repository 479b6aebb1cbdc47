"""What `orch doctor` asks MySQL and MariaDB: the clock, whether the server follows another one, and the rights of this login."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.rights import rights_of
from orchestrator.engines.mysql.schema_snapshot import SEE_SCHEMA
from orchestrator.engines.mysql.writable import READ_ONLY, is_on
from orchestrator.model import Vitals

_NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE")
_FILES = ("ALTER", "DROP", "INDEX", "REFERENCES")


def vitals(connection: Any, database: str) -> Vitals:
    """Return what the server says of itself and of this login. May raise pymysql.Error."""
    ((now, read_only),) = ask(connection, f"SELECT UTC_TIMESTAMP(6), {READ_ONLY}")
    clock = datetime.fromisoformat(str(now)).replace(tzinfo=UTC) if now else None
    role = "read-only" if is_on(read_only) else "writable"
    rights = rights_of(connection, database)
    if rights is None:
        return Vitals(clock, role=role)
    account = rights.account
    problems, notes = [], []
    if lacking := rights.lacking(_NEEDED):
        what = f"{account} may not {', '.join(lacking)} in {database}, which apply and rollback do"
        problems.append(f"{what}: {rights.grant(lacking)}")
    if lacking := rights.lacking(_FILES):
        what = f"{account} may not {', '.join(lacking)} in {database}, which most migrations need"
        notes.append(f"{what}: {rights.grant(lacking)}")
    if lacking := rights.lacking(SEE_SCHEMA):
        what = f"{account} may not {', '.join(lacking)} in {database}, which drift needs"
        notes.append(f"{what}: {rights.grant(lacking)}")
    if not {"CREATE", "DROP"} <= rights.everywhere:
        what = f"{account} may not create databases, which verify, clone and new databases need"
        notes.append(f"{what}: GRANT CREATE, DROP ON *.* TO {account};")
    if "PROCESS" not in rights.everywhere:
        notes.append(f"{account} may not see what blocks a migration: GRANT PROCESS ON *.* TO {account};")
    return Vitals(clock, tuple(problems), tuple(notes), role)
