"""The questions that a migration file asks about its database (`require`, `ensure`), and which answer is a yes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from orchestrator.errors import CheckError
from orchestrator.model import Statement

REQUIRE, ENSURE = "require", "ensure"
_MAX_SHOWN = 100
_FORM = "the query must return one row whose first column is true (a boolean)"


def judge(check: Statement, rows: Sequence[Any], *, columns: int = 1) -> None:
    """Raise CheckError unless the answer is one row whose first column is true.

    `rows` are the first columns of the first two rows: True and False for booleans, None for NULL, texts as they are,
    and for any other type its value as text after the name of the type, as (type, text).
    """
    if len(rows) > 1:
        raise refused(check, "its query returned more than one row", _FORM)
    if not rows:
        raise refused(check, "its query returned no row", _FORM)
    if not columns:
        raise refused(check, "its query returned a row without columns", _FORM)
    if (found := rows[0]) is not True:
        raise refused(check, f"its query returned {_shown(found)}", "" if found is False else _FORM)


def refused(check: Statement, what: str, hint: str = "") -> CheckError:
    """Return the error of a check that is not met; `what` says what came instead of a yes."""
    return CheckError(f"the check is not met: {what}", hint=hint, statement=check)


def _shown(value: Any) -> str:
    if value is None:
        return "NULL"
    if value is False:
        return "false"
    kind, text = value if isinstance(value, tuple) else ("text", value)
    text = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
    return f"the {kind} {json.dumps(text, ensure_ascii=False)}"


def answer_of(value: object) -> object:
    """Return a value as `judge` takes it, of a server that has 1 and 0 for true and false."""
    if value in (0, 1) and isinstance(value, int):
        return value == 1
    return None if value is None else ("number" if isinstance(value, int | float) else "text", str(value))


def text_of(cell: object) -> str:
    """Return a value that a query returned as text, as PostgreSQL shows it: bytes that are no text as \\x and hexadecimal."""
    if isinstance(cell, bytes):
        try:
            return cell.decode()
        except UnicodeDecodeError:
            return "\\x" + cell.hex()
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, (dict, list)):
        return json.dumps(cell, default=str, ensure_ascii=False)
    return str(cell)
