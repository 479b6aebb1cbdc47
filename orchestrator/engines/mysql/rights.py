"""Which rights this login has on a database."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.records import text

# Rights on a database are given for a pattern, in which `_` and `%` of a name may be escaped.
_GIVEN = """SELECT PRIVILEGE_TYPE, '' FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = {login}
    UNION SELECT PRIVILEGE_TYPE, TABLE_SCHEMA FROM information_schema.SCHEMA_PRIVILEGES
    WHERE GRANTEE = {login} AND {database} LIKE TABLE_SCHEMA"""
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
    account = f"'{user}'@'{host}'"
    given: dict[str, set[str]] = {"": set()}
    for right, pattern in ask(connection, _GIVEN.format(login=text(account), database=text(database))):
        given.setdefault(str(pattern), set()).add(str(right))
    everywhere = given.pop("")
    # Of several patterns the server takes the one with the fewest wildcards alone.
    pattern = min(given, key=lambda one: len(_WILDCARD.findall(one)), default=re.sub(r"[%_\\]", r"\\\g<0>", database))
    quoted = "`" + pattern.replace("`", "``") + "`"
    return Rights(account, quoted, frozenset(everywhere), frozenset(everywhere | given.get(pattern, set())))
