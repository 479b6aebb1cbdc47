"""Which tables have no transactions: a statement that reaches one of these cannot commit with its record."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.lexer import name_of
from orchestrator.engines.mysql.reader import tokens_of
from orchestrator.engines.mysql.records import text

_WITHOUT = """SELECT t.TABLE_SCHEMA, t.TABLE_NAME FROM information_schema.TABLES t
    WHERE t.TABLE_TYPE = 'BASE TABLE' AND t.TABLE_SCHEMA IN ({schemas}) AND t.ENGINE NOT IN
    (SELECT e.ENGINE FROM information_schema.ENGINES e WHERE e.TRANSACTIONS = 'YES')"""
# What stands in a trigger, a routine or a view is reached by a statement that does not name it.
_HIDDEN = """SELECT ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()
    UNION ALL SELECT ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()
    UNION ALL SELECT VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()"""

_SCHEMAS = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA"


class Tables:
    """The tables without transactions of a database, as long as nothing changes the schema."""

    def __init__(self, connection: Any, ours: str) -> None:
        self._connection = connection
        self._ours = ours.lower()  # in memory, and no file may name it
        self._own: frozenset[str] | None = None
        self._hidden: tuple[str, ...] = ()
        self._schemas: frozenset[str] | None = None  # read for the first statement that may name another one

    def forget(self) -> None:
        """Look again the next time: a statement has run that may have changed the schema."""
        self._own = None

    def are_transactional(self, source: str, database: str) -> bool:
        """Whether everything that a statement reaches takes part in a transaction."""
        if self._own is None:
            self._look(database)
        own = self._own or frozenset()
        tokens = tokens_of(source)
        names = {name_of(token).lower() for token in tokens if token.kind in ("word", "quoted")}
        if self._schemas is None and any(token.text == "." for token in tokens):
            self._schemas = frozenset(str(name).lower() for (name,) in ask(self._connection, _SCHEMAS))
        schemas = self._schemas or frozenset()
        # A qualified name of another database: its tables are not looked at before somebody names them.
        others = {
            name_of(left)
            for left, dot in pairwise(tokens)
            if dot.text == "." and name_of(left).lower() in schemas and name_of(left).lower() != database.lower()
        }
        if others and self._without(others):
            return False
        if not own:
            return True
        if names & own:
            return False
        return not any(name in body.lower() for body in self._hidden if body for name in own)

    def _look(self, database: str) -> None:
        self._own = self._without({database}) - {self._ours}
        self._schemas = None
        self._hidden = tuple(str(body or "") for (body,) in ask(self._connection, _HIDDEN)) if self._own else ()

    def _without(self, schemas: set[str]) -> frozenset[str]:
        query = _WITHOUT.format(schemas=", ".join(map(text, sorted(schemas))))
        return frozenset(str(name).lower() for _, name in ask(self._connection, query))
