"""What a file changes in its session: orch resets it after the file, and sets it again to continue a file in the middle.

orch cannot open a new session instead: the migration lock belongs to this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pymysql

from orchestrator.engines.mysql.connection import OURS, ask
from orchestrator.engines.mysql.lexer import Token, name_of, split
from orchestrator.engines.mysql.named import change_of
from orchestrator.engines.mysql.named import quoted as as_sql
from orchestrator.engines.mysql.reader import is_session, is_temporary, runs_others, tokens_of, words_of
from orchestrator.engines.mysql.records import quoted, text
from orchestrator.errors import ConflictError
from orchestrator.hints import Command, Hint
from orchestrator.model import Statement

_VARIABLES = (
    *("sql_mode", "foreign_key_checks", "unique_checks", "time_zone", "sql_safe_updates", "sql_notes"),
    *("character_set_client", "character_set_results", "collation_connection", "group_concat_max_len"),
    *("default_storage_engine", "lock_wait_timeout", "innodb_lock_wait_timeout", "max_error_count"),
    *OURS,
)
_PLAIN_FUNCTIONS = frozenset(
    {"concat", "concat_ws", "replace", "if", "ifnull", "coalesce", "nullif", "trim", "upper", "lower"}
)


class FileState:
    """Puts a session back to what it was before a file."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._before: dict[str, Any] = {}
        self._isolation = False
        self._temporary: list[str] = []
        self._variables: set[str] = set()
        self._prepared: set[str] = set()

    def watch(self, sources: Iterable[str]) -> None:
        """Remember the values that these statements may change, before they run."""
        touched = False
        named: set[str] = set()
        for source in filter(_leaves_marks, sources):
            tokens = tokens_of(source)
            words = [token.text for token in tokens]
            if not words:
                continue
            self._variables |= {token.text for token in tokens if _is_own_variable(token)}
            if words[0] == "set":
                named |= {name for name in map(_system_variable, tokens) if name}
                self._isolation = self._isolation or "isolation" in words
            if words[0] == "prepare" and words[1:]:
                self._prepared.add(words[1])
            if is_temporary(words) and words[0] == "create":
                self._temporary.append(_table_of(source))
            touched = touched or runs_others(words) or words[0] == "set"
        if not touched:
            return
        if not self._before:
            values = ask(self._connection, "SELECT " + ", ".join(f"@@SESSION.{name}" for name in _VARIABLES))[0]
            self._before = dict(zip(_VARIABLES, values, strict=True))
        for name in named - self._before.keys():
            with suppress(pymysql.Error):  # no variable of the server, or one of all sessions
                self._before[name] = ask(self._connection, f"SELECT @@SESSION.{quoted(name)}")[0][0]
        if self._isolation:
            for name in ("tx_isolation", "transaction_isolation"):
                with suppress(pymysql.Error):
                    self._before[name] = ask(self._connection, f"SELECT @@SESSION.{name}")[0][0]
                    break

    def put_back(self) -> bool:
        """Reset the session to what it was before the file. Return whether its variables were set again."""
        connection, touched = self._connection, bool(self._before)
        if self._before:
            values = {name: value for name, value in self._before.items() if value is not None}
            ours = ", ".join(
                f"SESSION {name} = {_literal(value)}" for name, value in values.items() if name in _VARIABLES
            )
            ask(connection, f"SET {ours}")
            for name, value in values.items():
                if name not in _VARIABLES:
                    with suppress(pymysql.Error):
                        ask(connection, f"SET SESSION {quoted(name)} = {_literal(value)}")
        for table in self._temporary:
            with suppress(pymysql.Error):
                ask(connection, f"DROP TEMPORARY TABLE IF EXISTS {table}")
        for name in self._prepared:
            with suppress(pymysql.Error):
                ask(connection, f"DEALLOCATE PREPARE {quoted(name)}")
        if self._variables:
            ask(connection, "SET " + ", ".join(f"{name} = NULL" for name in sorted(self._variables)))
        self._before, self._isolation = {}, False
        self._temporary, self._variables, self._prepared = [], set(), set()
        return touched


def to_replay(id: str, statements: Sequence[Statement]) -> list[str]:
    """Return the SET statements of the file above these, which a new session runs before it continues with these.

    ConflictError if these need what the old session had and SET cannot restore, such as a prepared statement.
    """
    replayed: list[str] = []
    known: set[str] = set()
    settings = statements[0].settings
    computed: list[str] = []
    for piece in split(settings):
        if piece.tokens[0].text == "set" and _is_same_again(piece.tokens):
            replayed.append(settings[piece.start : piece.end])
            known |= {token.text.lower() for token in piece.tokens if _is_own_variable(token)}
        elif piece.tokens[0].text == "set":
            computed += [name for name in map(_system_variable, _assigned(piece.tokens)) if name]
    if computed:
        raise _cannot_go_on(id, computed, statements[0].line)
    prepared: set[str] = set()
    temporary = _temporary_tables(settings)
    for statement in statements:
        tokens = tokens_of(statement.source)
        words = [token.text for token in tokens]
        gone = _needed(tokens, temporary) if temporary else []
        used = {token.text.lower() for token in tokens if _is_own_variable(token)}
        if words[:1] == ["set"]:
            known |= used
        if "into" in words:  # SELECT … INTO @a, @b
            for token in tokens[words.index("into") + 1 :]:
                if not _is_own_variable(token) and token.text != ",":
                    break
                known.add(token.text.lower())
        if words[:1] == ["prepare"]:
            prepared.add(words[1])
        lost = sorted(used - known) + [f"the temporary table {name}" for name in gone]
        if words[:1] == ["execute"] and words[1] not in ("immediate", *prepared):
            lost.append(f"the prepared statement {words[1]}")
        if lost:
            raise _cannot_go_on(id, lost, statement.line)
    return replayed


def _temporary_tables(settings: str) -> set[str]:
    """Return the temporary tables, in lower case, that these statements leave in their session."""
    tables: set[str] = set()
    for piece in split(settings):
        source = settings[piece.start : piece.end]
        if is_temporary(piece.words) and (change := change_of(source)):
            names = {thing.name.lower() for thing in change.things}
            tables = tables | names if piece.tokens[0].text == "create" else tables - names
    return tables


def _needed(tokens: Sequence[Token], temporary: set[str]) -> list[str]:
    """Return which of these lost tables a statement names; one that it makes anew is not lost any more.

    Another table may have that name, which the file does not mean.
    """
    words = [name_of(token) for token in tokens]
    named = {name_of(token).lower() for token in tokens if token.kind in ("word", "quoted")} & temporary
    if is_temporary(words) and (words[0] == "create" or "exists" in words[1:5]):
        temporary -= named
        return []
    return sorted(named)


def _cannot_go_on(id: str, lost: Sequence[str], line: int) -> ConflictError:
    return ConflictError(
        f"{id} cannot go on in the middle of a file: {', '.join(lost)} went with the session that was cut off",
        detail=f"line {line} needs it",
        hint=Hint("finish the file by hand, and then: ", Command("repair", id)),
    )


def _is_same_again(tokens: Sequence[Token]) -> bool:
    """Whether a SET gives the same values in a new session: it reads no table, and calls nothing but plain functions."""
    if any(token.text == "select" for token in tokens):
        return False
    called = (left for left, right in pairwise(tokens) if right.text == "(" and left.kind in ("word", "quoted"))
    return all(token.text in _PLAIN_FUNCTIONS for token in called)


def _assigned(tokens: Sequence[Token]) -> list[Token]:
    """Return what a SET assigns to."""
    return [left for left, right in pairwise(tokens) if right.text in ("=", ":") and left.kind in ("word", "variable")]


def _leaves_marks(source: str) -> bool:
    """Whether a statement may leave something in its session."""
    words = words_of(source)
    return is_session(words) or is_temporary(words) or runs_others(words) or "@" in source


def _is_own_variable(token: Token) -> bool:
    return token.kind == "variable" and not token.text.startswith("@@") and "." not in token.text


def _system_variable(token: Token) -> str:
    """Return the name of the system variable that a word of a SET may be."""
    name = token.text.lower()
    for prefix in ("@@session.", "@@local.", "@@"):
        name = name.removeprefix(prefix)
    return name if token.kind in ("word", "variable") and name.isidentifier() else ""


def _table_of(source: str) -> str:
    change = change_of(source)
    return as_sql(change.things[0]) if change and change.things else "``"


def _literal(value: Any) -> str:
    return text(value) if isinstance(value, str) else str(int(value)) if isinstance(value, (int, bool)) else str(value)
