"""The output of `orch drift`: for people, as data, for GitHub, and as JUnit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from orchestrator.analysis.drift import Drift, details
from orchestrator.hints import Hint
from orchestrator.phrases import some
from orchestrator.views.table import counted, diff_of, lines_of

MAX_SHOWN = 50
_AGAINST = {
    "files": "what the files yield (a scratch database)",
    "kept": "the schema snapshot of the last apply",
    "fleet": "most databases with the same files at the same version",
    "": "nothing",
}


def drift_text(databases: Sequence[Any]) -> Hint:
    """Return what was found, object by object; databases with the same differences are told together."""
    lines: list[str] = []
    for same in _alike(one for one in databases if one.state == "drift"):
        first = same[0]
        names = some([one.database for one in same])
        lines.append(f"{names}: {counted(len(first.drift.differences), 'difference')} from {_AGAINST[first.against]}")
        lines += _painted(first.drift)
        lines += _aside(first)
    for one in databases:
        if one.state == "same" and (aside := _aside(one)):
            lines += [f"{one.database}: no drift", *aside]
    for why, ids in _by_reason(databases).items():
        lines.append(f"{some(ids)}: unknown: {why}")
    states = [one.state for one in databases]
    parts = [f"{states.count('drift')} with drift", f"{states.count('same')} without"]
    parts += [f"{states.count(state)} {state}" for state in ("unknown", "failed") if state in states]
    by = {one.against for one in databases if one.against and one.state == "same"}
    beside = f" (compared with {' or '.join(_AGAINST[against] for against in sorted(by))})" if by else ""
    return lines_of([*lines, *([""] if lines else []), f"{', '.join(parts)}{beside}."])


def drift_document(databases: Sequence[Any]) -> dict[str, Any]:
    """Return what was found as plain data."""
    entries = [
        {
            "id": one.database,
            "state": one.state,
            "version": one.version,
            "against": one.against or None,
            "instead": one.instead,
            "unknown": one.unknown,
            "ignored": one.drift.ignored,
            "notes": list(one.drift.notes),
            "differences": [
                {"how": each.how, "object": each.name, "expected": each.expected, "found": each.found}
                for each in one.drift.differences
            ],
            "error": {"kind": one.failure.kind, "what": one.failure.what, "hint": one.failure.hint}
            if one.failure
            else None,
        }
        for one in databases
    ]
    return {"format": 1, "databases": entries}


def drift_commands(databases: Sequence[Any]) -> list[str]:
    """Return GitHub's annotations: an error for each group of databases with the same differences."""
    from orchestrator.views.github import command, limited

    found = [
        command("error", "\n".join(_differences(same[0].drift)), title=f"drift: {some([one.database for one in same])}")
        for same in _alike(one for one in databases if one.state == "drift")
    ]
    found += [
        command("error", one.failure.what, title=f"drift: {one.database}") for one in databases if one.state == "failed"
    ]
    unknown = [
        command("warning", why, title=f"drift is unknown: {some(ids)}") for why, ids in _by_reason(databases).items()
    ]
    return [*limited(found, "error"), *limited(unknown, "warning")]


def drift_junit(databases: Sequence[Any]) -> str:
    """Return a JUnit report with a test case for each database."""
    cases = []
    for one in databases:
        inner = ""
        if one.state == "drift":
            what = counted(len(one.drift.differences), "difference")
            inner = f"<failure message={quoteattr(what)}>{escape(_printable(_differences(one.drift)))}</failure>"
        elif one.state == "failed":
            inner = f"<error message={quoteattr(_printable([one.failure.what]))}/>"
        elif one.state == "unknown":
            inner = f"<skipped message={quoteattr(_printable([one.unknown]))}/>"
        cases.append(f'    <testcase classname="drift" name={quoteattr(one.database)} time="0">{inner}</testcase>\n')
    states = [one.state for one in databases]
    counts = (
        f'tests="{len(states)}" failures="{states.count("drift")}" errors="{states.count("failed")}" '
        f'skipped="{states.count("unknown")}"'
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<testsuites>\n'
        f'  <testsuite name="orch drift" {counts} time="0">\n{"".join(cases)}  </testsuite>\n</testsuites>\n'
    )


def _printable(lines: Iterable[str]) -> str:
    return "".join(c if c >= " " or c in "\n\t" else "?" for c in "\n".join(lines))


def _alike(databases: Iterable[Any]) -> list[list[Any]]:
    """Return the databases in groups with the same differences, the largest first."""
    groups: dict[object, list[Any]] = {}
    for one in databases:
        groups.setdefault((one.against, one.drift.differences), []).append(one)
    return sorted(groups.values(), key=len, reverse=True)


def _by_reason(databases: Sequence[Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in databases:
        if one.state == "unknown":
            found.setdefault("; ".join(filter(None, (one.instead, one.unknown))), []).append(one.database)
    return found


def _differences(drift: Drift) -> list[str]:
    return details(drift, MAX_SHOWN).splitlines()


def _painted(drift: Drift) -> Iterator[str]:
    """Yield the differences, indented: their names as they are, and what belongs to each as a diff."""
    for line in _differences(drift):
        yield from diff_of([line[2:]], "    ") if line.startswith("  ") else [f"  {line}"]


def _aside(one: Any) -> list[str]:
    """Return what is no drift and must not go unnoticed."""
    lines = [f"  note: {note}" for note in one.drift.notes]
    if one.drift.ignored:
        lines.append(f"  {counted(one.drift.ignored, 'difference')} ignored (drift_ignore)")
    if one.instead and one.against:
        lines.append(f"  compared with {_AGAINST[one.against]}: {one.instead}")
    return lines
