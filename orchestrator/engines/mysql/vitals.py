"""What `orch doctor` asks MySQL and MariaDB: the clock, whether the server follows another one, and the rights of this login."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.records import text
from orchestrator.model import Vitals

_NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE")
_FILES = ("ALTER", "DROP", "INDEX", "REFERENCES")
# Rights on a database are given for a pattern, in which `_` and `%` of a name may be escaped.
_GIVEN = """SELECT PRIVILEGE_TYPE, '' FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = {login}
    UNION SELECT PRIVILEGE_TYPE, TABLE_SCHEMA FROM information_schema.SCHEMA_PRIVILEGES
    WHERE GRANTEE = {login} AND {database} LIKE TABLE_SCHEMA"""
_WILDCARD = re.compile(r"(?<!\\)[%_]")


def vitals(connection: Any, database: str) -> Vitals:
    """Return what the server says of itself and of this login. May raise pymysql.Error."""
    ((now, login, roles, read_only),) = ask(
        connection, "SELECT UTC_TIMESTAMP(6), CURRENT_USER(), CURRENT_ROLE(), @@GLOBAL.read_only"
    )
    clock = datetime.fromisoformat(str(now)).replace(tzinfo=UTC) if now else None
    role = "read-only" if int(read_only) else "writable"
    if roles and str(roles).upper() != "NONE":  # what a role grants is not in these tables
        return Vitals(clock, role=role)
    user, _, host = str(login).rpartition("@")
    account = f"'{user}'@'{host}'"
    given: dict[str, set[str]] = {"": set()}
    for right, pattern in ask(connection, _GIVEN.format(login=text(account), database=text(database))):
        given.setdefault(str(pattern), set()).add(str(right))
    everywhere = given.pop("")
    # Of several patterns the server takes the one with the fewest wildcards alone.
    pattern = min(given, key=lambda one: len(_WILDCARD.findall(one)), default=re.sub(r"[%_\\]", r"\\\g<0>", database))
    here = everywhere | given.get(pattern, set())
    problems, notes = [], []
    quoted = "`" + pattern.replace("`", "``") + "`"
    if lacking := [right for right in _NEEDED if right not in here]:
        what = f"{account} may not {', '.join(lacking)} in {database}, which apply and rollback do"
        problems.append(f"{what}: GRANT {', '.join(lacking)} ON {quoted}.* TO {account};")
    if lacking := [right for right in _FILES if right not in here]:
        what = f"{account} may not {', '.join(lacking)} in {database}, which most migrations need"
        notes.append(f"{what}: GRANT {', '.join(lacking)} ON {quoted}.* TO {account};")
    if not {"CREATE", "DROP"} <= everywhere:
        what = f"{account} may not create databases, which verify, clone and new databases need"
        notes.append(f"{what}: GRANT CREATE, DROP ON *.* TO {account};")
    if "PROCESS" not in everywhere:
        notes.append(f"{account} may not see what blocks a migration: GRANT PROCESS ON *.* TO {account};")
    return Vitals(clock, tuple(problems), tuple(notes), role)
