"""The output of `orch validate`: for people and as data."""

from __future__ import annotations

from typing import Any

from orchestrator.operations.validate import Validated
from orchestrator.views.table import counted

_MAX_ALIKE = 3


def validated_text(valid: Validated) -> str:
    """Return one sentence: what was checked."""
    return f"Valid: {counted(valid.databases, 'database')}, {counted(valid.files, 'migration file')}."


def warning_lines(valid: Validated) -> list[str]:
    """Return a line for each warning; of many that are alike in one database the first ones, and how many more there are."""
    alike: dict[tuple[str, str], list[str]] = {}
    for one in valid.warnings:
        alike.setdefault((one.database, one.kind), []).append(one.what)
    lines = []
    for (id, _), found in alike.items():
        shown = found[:_MAX_ALIKE]
        if more := len(found) - len(shown):
            shown.append(f"and {more:,} more like these (--output json lists them all)")
        lines += [f"warning: {id}{': ' if id else ''}{what}" for what in shown]
    return lines


def validated_document(valid: Validated) -> dict[str, Any]:
    """Return what was checked, and every warning, as plain data."""
    warnings = [{"database": one.database, "what": one.what} for one in valid.warnings]
    return {"format": 1, "databases": valid.databases, "files": valid.files, "warnings": warnings, "errors": []}
