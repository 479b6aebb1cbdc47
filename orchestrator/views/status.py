"""The status of databases, as data for machines and as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

from orchestrator.hints import Command, Hint, joined
from orchestrator.patterns import regex
from orchestrator.phrases import some
from orchestrator.planning.listing import APPLIED, HELD, PARTIAL, Listed
from orchestrator.planning.listing import FAILED as LISTED_FAILED
from orchestrator.planning.listing import PENDING as LISTED_PENDING
from orchestrator.planning.status import (
    MISSING,
    PENDING,
    RUNNING,
    UP_TO_DATE,
    DatabaseStatus,
    FailedTry,
    Status,
    StatusProblem,
)
from orchestrator.views.table import TOGETHER, Painted, table

_MAX_ALIKE = 4
"""So many problems of one kind are told of a database; of more, the first ones and their number."""
FOLDED = 10
"""So many members of a fleet are one row."""
_TIME = regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} UTC")


def status_document(status: Status) -> dict[str, Any]:
    """Return what `orch status --output json` shows, its databases as an iterator that makes them one by one."""
    return {"format": 1, "databases": map(status_entry, status.databases)}


def status_entry(one: DatabaseStatus) -> dict[str, Any]:
    """Return where one database stands as plain data."""
    from dataclasses import asdict

    since = one.running_since.astimezone(UTC).isoformat() if one.running_since else None
    return {
        "id": one.id,
        "engine": one.engine,
        "name": one.name,
        **({"group": one.group} if one.group else {}),
        "endpoint": one.endpoint,
        "database": one.database,
        "running": {"by": one.running.description, "since": since} if one.running else None,
        "exists": one.exists,
        "version": one.version,
        "state": one.state,
        "dirty": one.dirty,
        "applied": list(one.applied),
        "pending": list(one.pending),
        "problems": [_problem(problem) for problem in one.problems],
        "notes": list(one.notes),
        **({"failed": [_failed(each) for each in one.failed]} if one.failed else {}),
        **({"external": [asdict(other) for other in one.external]} if one.external else {}),
        **({"migrations": [_migration(each) for each in one.migrations]} if one.migrations else {}),
    }


def _migration(each: Listed) -> dict[str, Any]:
    made = each.attempt
    return {
        "version": each.version,
        "name": each.name,
        "state": each.state,
        "started_at": made.started_at.astimezone(UTC).isoformat() if made and made.started_at else None,
        "seconds": made.seconds if made else None,
        "actor": made.actor if made else None,
        "note": each.note,
        "risks": list(each.risks),
    }


def _failed(one: FailedTry) -> dict[str, Any]:
    return {"version": one.version, "what": one.what, "hint": one.hint}


def _problem(problem: StatusProblem) -> dict[str, Any]:
    return {
        "kind": problem.kind,
        "version": problem.version,
        "what": problem.what,
        "hint": problem.hint,
        "blocks": [direction.value for direction in problem.blocks],
    }


def status_text(status: Status) -> Hint:
    """Return a table, each problem with its hint, and the number of databases in each state.

    Many members of a fleet are one row. Databases that were asked for by name come with the list of their migrations instead.
    """
    if any(one.migrations for one in status.databases):
        lines: list[str] = []
        for one in status.databases:
            lines += [*_listing(one), *_remarks(one), ""]
        return joined("\n", [*lines[:-1], *_counts(status)])
    members: dict[str, list[DatabaseStatus]] = {}
    for one in status.databases:
        if one.group:
            members.setdefault(one.group, []).append(one)
    groups = {group: ones for group, ones in members.items() if len(ones) >= FOLDED}
    rows = []
    for one in status.databases:
        if one.group not in groups:
            rows.append(_row(one))
        elif one is groups[one.group][0]:
            rows.append(_group_row(one.group, groups[one.group]))
    lines = [table(("DATABASE", "PLACE", "VERSION", "PENDING", "STATE"), rows)] if rows else []
    for one in status.databases:
        if one.group not in groups:
            lines += _remarks(one)
    for ones in groups.values():
        lines += _remarks_of_many(ones)
    return joined("\n", [*lines, *_counts(status)])


def _row(one: DatabaseStatus) -> tuple[str, ...]:
    return (
        one.id,
        f"{one.endpoint}/{one.database}",
        "?" if one.failure else "-" if one.version is None else f"{one.version}{' (dirty)' * bool(one.dirty)}",
        "?" if one.failure else str(len(one.pending)),
        _state(one),
    )


def _group_row(group: str, members: Sequence[DatabaseStatus]) -> tuple[str, ...]:
    """Return one row for all members of a group: how many there are, and how many in each state."""
    versions = sorted({-1 if one.version is None else one.version for one in members if not one.failure}) or [-1]
    first, last = ("-" if version < 0 else str(version) for version in (versions[0], versions[-1]))
    states = Counter(one.state for one in members).most_common()
    worst = next((one for one in members if one.problems or one.failed), members[0])
    told = ", ".join(f"{count:,} {state}" for state, count in states) if len(states) > 1 else states[0][0]
    return (
        f"group:{group} ({len(members):,})",
        some(list(dict.fromkeys(one.endpoint for one in members)), 2),
        first if first == last else f"{first} to {last}",
        f"{sum(len(one.pending) for one in members):,}",
        Painted(told, _COLOURS.get(worst.state, "red")),
    )


def _remarks_of_many(members: Sequence[DatabaseStatus]) -> Iterator[str]:
    """Yield the problems and notes of members; what they have in common is told once."""
    alike: dict[tuple[str, ...], list[DatabaseStatus]] = {}
    texts: dict[tuple[str, ...], list[str]] = {}
    for one in members:
        if text := list(_remarks(one)):
            # The name of a database can be the number of a version.
            versions = [*(str(each.version) for each in one.problems), *(str(each.version) for each in one.failed)]
            key = (*versions, *(_TIME.sub("", line).replace(one.id, "").replace(one.name, "") for line in text))
            alike.setdefault(key, []).append(one)
            texts.setdefault(key, text)
    for key, ones in alike.items():
        yield from texts[key]
        if len(ones) > 1:
            yield f"  the same holds for {len(ones) - 1:,} more: {some([one.id for one in ones[1:]])}"


def _counts(status: Status) -> list[str]:
    text = ", ".join(f"{count:,} {what}" for what, count in status.counts if count)
    return [f"\n{text}."] if text else []


def _remarks(one: DatabaseStatus) -> Iterator[str]:
    """Yield the problems of a database with their hints, and its notes."""
    if one.failure:
        return  # the reason is reported as an error
    kinds = Counter(problem.kind for problem in one.problems)
    told: Counter[str] = Counter()
    for problem in one.problems:
        told[problem.kind] += 1
        left = kinds[problem.kind] - _MAX_ALIKE + 1
        if left > 1 and told[problem.kind] >= _MAX_ALIKE:
            if told[problem.kind] == _MAX_ALIKE:
                more = f"and {left:,} more that are {problem.kind.replace('_', ' ')}; all of them: "
                yield Hint(f"\n{one.id}: {more}", Command("repair", one.id))
            continue
        yield f"\n{one.id}: {problem.what}"
        if problem.hint:
            yield Hint("  ", problem.hint)
    for failed in one.failed:
        yield f"\n{one.id}: {failed.what}"
        yield Hint("  ", failed.hint)
    for note in one.notes:
        yield Hint(f"\n{one.id}: ", note)


_COLOURS = {UP_TO_DATE: "dim", PENDING: "yellow", MISSING: "yellow", RUNNING: "blue"}


def _state(one: DatabaseStatus) -> Painted:
    """Return the state in its colour; of one that is being migrated, since when."""
    since = f" since {one.running_since.astimezone(UTC):%H:%M:%S} UTC" if one.running_since else ""
    return Painted(f"{one.state}{since if one.state == RUNNING else ''}", _COLOURS.get(one.state, "red"))


_BOXES = {
    APPLIED: ("[x]", "green"),
    LISTED_PENDING: ("[ ]", "yellow"),
    LISTED_FAILED: ("[!]", "red"),
    PARTIAL: ("[!]", "red"),
    HELD: ("[ ]", "dim"),
}


def _listing(one: DatabaseStatus) -> Iterator[str]:
    """Yield a database and its migrations: one line each, with when it was applied, how long that took, and by whom."""
    where = f"  {one.endpoint}/{one.database}, "
    standing = "unreachable" if one.failure else "no version" if one.version is None else f"version {one.version}"
    yield Hint(Painted(one.id, "bold"), where + standing + ", ", _state(one))
    rows = []
    for each in one.migrations:
        box, colour = _BOXES[each.state]
        made = each.attempt if each.state == APPLIED else None
        when = f"{made.started_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if made and made.started_at else ""
        seconds = f"{made.seconds:.1f}{TOGETHER}s" if made and made.seconds is not None else ""
        note = "; ".join(filter(None, (" ".join(each.note.split()), *each.risks)))
        alarming = each.state == PARTIAL or bool(each.risks) or each.attempt is not made
        rows.append(
            (
                Painted(box, colour),
                str(each.version),
                each.name,
                when,
                seconds,
                f"by {made.actor}" if made and made.actor else "",
                Painted(note, "yellow" if each.risks else "red") if alarming else note,
            )
        )
    if rows:
        yield table(("", "VERSION", "NAME", "APPLIED", "TIME", "BY", "NOTE"), rows)
