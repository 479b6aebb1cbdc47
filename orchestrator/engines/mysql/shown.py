"""SHOW CREATE with the same text in every session, whatever its sql_mode and character set are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.engines.mysql.connection import ask
from orchestrator.engines.mysql.records import text

# Every mode that changes what SHOW CREATE shows is one of these, or includes one, as ORACLE does.
_OTHERWISE = ("ANSI_QUOTES", "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS", "NO_KEY_OPTIONS")
IS_PLAIN = (
    *(f"@@SESSION.sql_mode NOT LIKE '%{mode}%'" for mode in _OTHERWISE),
    "@@SESSION.sql_quote_show_create = 1",
    "@@SESSION.character_set_results = 'utf8mb4'",
)
"""SQL of conditions that hold in a session that shows everything in the same way as others."""


@contextmanager
def plainly(connection: Any) -> Iterator[None]:
    """In this context, SHOW CREATE quotes names with backticks and leaves nothing out. Afterwards the session is as before."""
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
