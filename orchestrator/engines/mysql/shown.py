"""SHOW CREATE as it says the same in every session: neither its sql_mode nor its character set counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.records import text

# Each of these, and the modes that stand for several, has ANSI_QUOTES or one NO_…_OPTIONS in it.
_OTHERWISE = ("ANSI_QUOTES", "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS", "NO_KEY_OPTIONS")
IS_PLAIN = (
    *(f"@@SESSION.sql_mode NOT LIKE '%{mode}%'" for mode in _OTHERWISE),
    "@@SESSION.sql_quote_show_create = 1",
    "@@SESSION.character_set_results = 'utf8mb4'",
)
"""SQL of conditions that hold in a session that shows everything in the same way as others."""


@contextmanager
def plainly(connection: Any) -> Iterator[None]:
    """Let SHOW CREATE quote names by backticks and leave nothing out; afterwards the session is what it was."""
    changed = "@@SESSION.sql_mode, @@SESSION.sql_quote_show_create, @@SESSION.character_set_results"
    ((mode, quotes, charset, is_plain),) = ask(connection, f"SELECT {changed}, {' AND '.join(IS_PLAIN)}")
    if is_plain:
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
