"""What `orch lint --trace` measured, for people and as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.analysis.measured import STOPS_WRITERS, Compared
from orchestrator.analysis.sizes import Sizes, shown, size_of
from orchestrator.operations.trace import Traced
from orchestrator.views.table import counted

_SHOWN = 120


def trace_text(found: Sequence[Traced], sizes: Mapping[str, Sizes]) -> str:
    """Return each statement with what it did and whether the rules say so, and a sentence about all.

    `sizes` of the real tables are shown where a statement rewrites or reads them.
    """
    lines = []
    for traced in found:
        lines += [line for one in traced.statements for line in _statement(one, sizes.get(traced.database, {}))]
    every = [one for traced in found for one in traced.statements]
    agree = sum(one.agrees for one in every)
    lines.append(f"Traced {counted(len(every), 'statement')} in scratch databases: the rules agree with {agree:,}.")
    return "\n".join(lines)


def _statement(one: Compared, sizes: Sizes) -> list[str]:
    source = one.source if len(one.source) <= _SHOWN else f"{one.source[:_SHOWN]} …"
    lines = [f"{one.path}:{one.line}: {source}"]
    did = one.measured
    if did.error:
        lines.append(f"    failed: {did.error}")
    strong = [f"{mode} on {table}" for table, mode in did.locks if mode in STOPS_WRITERS]
    weak = [f"{mode} on {table}" for table, mode in did.locks if mode not in STOPS_WRITERS]
    if strong or weak:
        lines.append(f"    locks     {', '.join(strong + weak)}{' (looked at while it ran)' if did.polled else ''}")
    for what, tables in (("rewrites  ", did.rewritten), ("reads     ", did.read)):
        known = [(table, size_of(table, sizes)) for table in tables]
        if tables:
            lines.append(f"    {what}{', '.join(shown(table, size) if size else table for table, size in known)}")
    lines.append(f"    rules     {', '.join(one.codes) or 'nothing to tell'}")
    if one.missed:
        lines.append(f"    missed    work on {', '.join(one.missed)} under a lock that stops writers")
    if one.in_vain:
        lines.append(f"    in vain   {', '.join(one.in_vain)}: no old table was rewritten or read under such a lock")
    return lines


def trace_document(found: Sequence[Traced]) -> list[dict[str, Any]]:
    """Return the same as plain data."""
    return [
        {
            "database": traced.database,
            "error": traced.failure.what if traced.failure else None,
            "statements": [
                {
                    "path": one.path,
                    "line": one.line,
                    "statement": one.source,
                    "locks": [{"table": table, "mode": mode} for table, mode in one.measured.locks],
                    "rewritten": list(one.measured.rewritten),
                    "read": list(one.measured.read),
                    "seconds": round(one.measured.seconds, 6),
                    "polled": one.measured.polled,
                    "error": one.measured.error or None,
                    "rules": list(one.codes),
                    "missed": list(one.missed),
                    "in_vain": list(one.in_vain),
                }
                for one in traced.statements
            ],
        }
        for traced in found
    ]
