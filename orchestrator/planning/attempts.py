"""What attempts and the version table say: which count, and what stands in them while a file runs and after it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from orchestrator.model import (
    Attempt,
    Direction,
    History,
    Script,
    VersionRow,
)


def latest_effective(attempts: Iterable[Attempt]) -> dict[int, Attempt]:
    """Return each version's newest attempt that had an effect.

    A try that failed without one changes nothing, but where it went on from an attempt that stopped half way: then
    nothing of that is left, and what counts is the last one that came to its end.
    """
    latest: dict[int, Attempt] = {}
    finished: dict[int, Attempt] = {}
    for attempt in sorted(attempts, key=lambda r: (r.version, r.number)):
        version = attempt.version
        if attempt.done:
            finished[version] = attempt
        if attempt.done or attempt.applied or attempt.in_flight:
            latest[version] = attempt
        elif version in latest and not latest[version].done and latest[version].direction is attempt.direction:
            latest.pop(version)
            if version in finished:
                latest[version] = finished[version]
    return dict(sorted(latest.items()))


def next_attempt(attempts: Iterable[Attempt], version: int) -> int:
    """Return the attempt number that a new record of this version takes."""
    return max((r.number for r in attempts if r.version == version), default=0) + 1


def version_row_during(applied: Iterable[int], version: int, direction: Direction) -> VersionRow:
    """Return the version table while a file is half done: the version that is being reached, dirty.

    For a down that is the version below, and -1 below the first: golang-migrate's own convention (read from its source).
    """
    after = version_row_after(applied, version, direction).version
    return VersionRow(-1 if after is None else after, dirty=True)


def version_row_after(applied: Iterable[int], version: int, direction: Direction) -> VersionRow:
    """Return the version table once a version has gone in this direction, given what else is applied."""
    others = set(applied) - {version}
    return VersionRow(max(others | {version} if direction is Direction.UP else others, default=None))


class Prefixes:
    """The checksums of a script's first statements. Asked for one after the other, each adds its last statement alone."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._digest = hashlib.sha256()
        self._count = 0
        self._before = ""  # the checksum without the last statement

    def checksum(self, count: int) -> str:
        """Return the checksum of the first `count` statements; '' for none. Line ends count as in a file's checksum."""
        count = min(count, len(self._script.statements))
        if count == self._count - 1:
            return self._before
        if count < self._count:
            self._digest, self._count = hashlib.sha256(), 0
        for statement in self._script.statements[self._count : count]:
            if self._count == count - 1:
                self._before = self._told()
            self._digest.update(statement.source.replace("\r\n", "\n").encode() + b"\0")
            self._count += 1
        return self._told()

    def in_flight(self, count: int) -> str:
        """Return the checksums of the first `count` statements, and of those with the one that was begun after them."""
        return f"{self.checksum(count)}+{self.checksum(count + 1)}"

    def _told(self) -> str:
        return f"sha256:{self._digest.hexdigest()}" if self._count else ""


def prefix_checksum(script: Script, count: int) -> str:
    """Return the checksum of a script's first `count` statements; '' for none."""
    return Prefixes(script).checksum(count)


def prefix_in_flight(script: Script, count: int) -> str:
    """Return the checksums of a script's first `count` statements, and of those with the one that was begun after them."""
    return Prefixes(script).in_flight(count)


def prefix_landed(attempt: Attempt, *, done: bool) -> str:
    """Return the checksum of what is done, once it is known whether the statement that was begun is."""
    before, _, after = attempt.prefix.partition("+")
    return after if done else before


def resumable(attempt: Attempt, script: Script) -> bool:
    """Tell whether what a partial attempt already ran, or began, is unchanged in the file; the rest may differ."""
    count = attempt.applied + (1 if attempt.in_flight else 0)
    if count > len(script.statements):
        return False
    checksum = prefix_in_flight if attempt.in_flight else prefix_checksum
    return checksum(script, attempt.applied) == attempt.prefix


def digest(history: History) -> str:
    """Return a fingerprint of what a plan was made from."""
    facts = [
        history.exists,
        [history.version_row.version, history.version_row.dirty] if history.version_row else None,
        *([[[row.version, row.dirty] for row in history.rows]] if history.rows else []),
        [
            [r.version, r.number, r.direction.value, r.checksum, r.applied, r.in_flight, r.done]
            for r in latest_effective(history.attempts).values()
        ],
    ]
    return "sha256:" + hashlib.sha256(json.dumps(facts).encode()).hexdigest()
