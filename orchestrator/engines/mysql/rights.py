"""Which rights this login has on a database, and how the server writes login and database where it gives rights."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import pymysql

from orchestrator.engines.mysql.connection import ask, open_connection
from orchestrator.engines.mysql.records import text
from orchestrator.errors import OrchError
from orchestrator.model import Target

# Rights on a database are given for a pattern, in which `_` and `%` of a name may be escaped.
_GIVEN = """SELECT PRIVILEGE_TYPE, {none} FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = {login}
    UNION SELECT PRIVILEGE_TYPE, TABLE_SCHEMA FROM information_schema.SCHEMA_PRIVILEGES
    WHERE GRANTEE = {login} AND {database} LIKE TABLE_SCHEMA ESCAPE CHAR(92)"""
_HINT_TIMEOUT = 5.0  # seconds to connect; only a hint depends on it
_WILDCARD = re.compile(r"(?<!\\)[%_]")


class Rights(NamedTuple):
    """The rights of a login on all databases, and on one (those on all included). `account` and `pattern` are SQL."""

    account: str
    pattern: str
    everywhere: frozenset[str]
    here: frozenset[str]

    def lacking(self, needed: Iterable[str]) -> list[str]:
        """Return those of these rights that the login does not have on the database."""
        return [right for right in needed if right not in self.here]

    def grant(self, rights: Iterable[str]) -> str:
        """Return the statement that gives the login these rights on the database."""
        return f"GRANT {', '.join(rights)} ON {self.pattern}.* TO {self.account};"


def rights_of(connection: Any, database: str) -> Rights | None:
    """Return the rights of this login; None if it uses a role, whose rights a login cannot read. May raise pymysql.Error."""
    ((login, role),) = ask(connection, "SELECT CURRENT_USER(), CURRENT_ROLE()")
    if role and str(role).upper() != "NONE":
        return None
    user, _, host = str(login).rpartition("@")
    given: dict[str, set[str]] = {"": set()}
    query = _GIVEN.format(login=text(f"'{user}'@'{host}'"), database=text(database), none=text(""))
    for right, pattern in ask(connection, query):
        given.setdefault(str(pattern), set()).add(str(right))
    everywhere = given.pop("")
    # Of several patterns the server takes the one with the fewest wildcards alone.
    pattern = min(given, key=lambda one: len(_WILDCARD.findall(one)), default=_pattern(database))
    here = frozenset(everywhere | given.get(pattern, set()))
    return Rights(account(str(login)), _quoted(pattern), frozenset(everywhere), here)


def grant_all(target: Target) -> str:
    """Return the statement that gives the login of a DSN every right on its database. Asks the server which account it is."""
    from orchestrator.engines.mysql.dsn import DSN

    login = f"{DSN.login(target.url.reveal())}@%"
    with suppress(pymysql.Error, OSError, OrchError):
        connection = open_connection(target, database=False, timeout=_HINT_TIMEOUT)
        try:
            ((login,),) = ask(connection, "SELECT CURRENT_USER()")
        finally:
            connection.close()
    pattern = _pattern("orch_") + "%" if target.scratch else _pattern(target.database)
    return f"GRANT ALL ON {_quoted(pattern)}.* TO {account(str(login))};"


def account(login: str) -> str:
    """Return the SQL of an account that the server calls `user@host`."""
    user, _, host = login.rpartition("@")
    return "@".join("'" + part.replace("'", "''") + "'" for part in (user, host))


def _pattern(database: str) -> str:
    return re.sub(r"[%_\\]", r"\\\g<0>", database)


def _quoted(pattern: str) -> str:
    return "`" + pattern.replace("`", "``") + "`"
