"""SHOW CREATE as it says the same in every session: neither its sql_mode nor its character set counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.records import text

# Each of these, and the modes that stand for several, has ANSI_QUOTES or one NO_…_OPTIONS in it.
_OTHERWISE = ("ANSI_QUOTES", "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS", "NO_KEY_OPTIONS")
READ = "SELECT @@SESSION.sql_mode, @@SESSION.sql_quote_show_create, @@SESSION.character_set_results"
"""SQL of what decides that, for `is_plain`."""


def is_plain(row: tuple[Any, ...]) -> bool:
    """Whether a session with these settings, as `READ` has them, shows everything in the same way as others."""
    mode, quotes, charset = row
    return not any(one in mode for one in _OTHERWISE) and bool(int(quotes)) and charset == "utf8mb4"


@contextmanager
def plainly(connection: Any) -> Iterator[None]:
    """Let SHOW CREATE quote names by backticks and leave nothing out; afterwards the session is what it was."""
    ((mode, quotes, charset),) = ask(connection, READ)
    if is_plain((mode, quotes, charset)):
        yield
        return
    ask(
        connection,
        f"SET SESSION sql_mode = {text('')}, SESSION sql_quote_show_create = 1, SESSION character_set_results = utf8mb4",
    )
    try:
        yield
    finally:
        results = "NULL" if charset is None else charset
        ask(
            connection,
            f"SET SESSION sql_mode = {text(mode)}, SESSION sql_quote_show_create = {int(quotes)}, "
            f"SESSION character_set_results = {results}",
        )
