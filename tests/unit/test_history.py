"""`reconcile`: every way in which files, history and version table can stand to each other, and what it means."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model import Attempt, Direction, File, History, Migration, Origin, Script, Statement, VersionRow
from orchestrator.planning.attempts import (
    Prefixes,
    digest,
    latest_effective,
    next_attempt,
    prefix_checksum,
    prefix_in_flight,
    prefix_landed,
    resumable,
    version_row_after,
    version_row_during,
)
from orchestrator.planning.history import State, reconcile
from orchestrator.planning.problems import Kind

UP, DOWN = Direction.UP, Direction.DOWN
BOTH = (UP, DOWN)


def file(version: int, text: str = "") -> File:
    return File(f"{version}_m{version}.up.sql", Path(), f"sha256:{version}{text}")


def migration(version: int, **changes: Any) -> Migration:
    return Migration(version, f"m{version}", file(version), file(version, "down"))._replace(**changes)


def files(*versions: int) -> list[Migration]:
    return [migration(version) for version in versions]


def up(version: int, attempt: int = 1, **changes: Any) -> Attempt:
    blank = Attempt(version, attempt, f"m{version}", UP, f"sha256:{version}", applied=3, total=3, done=True)
    return blank._replace(**changes)


def down(version: int, attempt: int = 2, **changes: Any) -> Attempt:
    return up(version, attempt, direction=DOWN, checksum=f"sha256:{version}down", **changes)


def half(attempt: Attempt, applied: int, *, in_flight: bool = False) -> Attempt:
    return attempt._replace(done=False, applied=applied, in_flight=in_flight)


def found(version_row: VersionRow | None, *attempts: Attempt) -> History:
    return History(store=bool(attempts), version_row=version_row, attempts=attempts)


def facts(state: State) -> dict[str, Any]:
    """Return what a state says, without what it says nothing about."""
    said = {
        "applied": state.applied,
        "pending": state.pending,
        "adopt": state.adopt,
        "forget": state.forget,
        "stale": state.version_row_stale,
        "partial": state.partial.version if state.partial else None,
        "problems": tuple(problem.kind for problem in state.problems),
    }
    return {key: value for key, value in said.items() if value}


# ---------------------------------------------------------------- the table

CASES: dict[str, tuple[list[Migration], History, dict[str, Any]]] = {
    "nothing anywhere": ([], found(None), {}),
    "no database": (files(1, 2), History(exists=False), {"pending": (1, 2)}),
    "nothing there": (files(1, 2), found(None), {"pending": (1, 2)}),
    "numeric order, gaps, timestamps": (
        files(1, 2, 10, 20240826120919),
        found(None),
        {"pending": (1, 2, 10, 20240826120919)},
    ),
    # golang-migrate alone was here
    "only an empty version table table": (files(1, 2), found(VersionRow(None)), {"pending": (1, 2)}),
    "only a version table": (
        files(1, 2, 3),
        found(VersionRow(2)),
        {"applied": (1, 2), "adopt": (1, 2), "pending": (3,)},
    ),
    "only a version table, at the end": (files(1, 2), found(VersionRow(2)), {"applied": (1, 2), "adopt": (1, 2)}),
    "only a version table, file unknown": (
        files(1, 2),
        found(VersionRow(7)),
        {"pending": (1, 2), "problems": (Kind.MISSING,)},
    ),
    "only a version table, dirty": (
        files(1, 2),
        found(VersionRow(2, True)),
        {"pending": (1, 2), "problems": (Kind.DIRTY,)},
    ),
    "only a version table, first down failed": (
        files(1, 2),
        found(VersionRow(-1, True)),
        {"pending": (1, 2), "problems": (Kind.DIRTY,)},
    ),
    # both agree
    "all applied": (files(1, 2), found(VersionRow(2), up(1), up(2)), {"applied": (1, 2)}),
    "one pending": (files(1, 2), found(VersionRow(1), up(1)), {"applied": (1,), "pending": (2,)}),
    "taken back": (files(1, 2), found(VersionRow(1), up(1), up(2), down(2)), {"applied": (1,), "pending": (2,)}),
    "all taken back": (files(1), found(VersionRow(None), up(1), down(1)), {"pending": (1,)}),
    "up again": (files(1), found(VersionRow(1), up(1), down(1), up(1, 3)), {"applied": (1,)}),
    "a try that failed without effect": (
        files(1, 2),
        found(VersionRow(1), up(1), half(up(2), 0)),
        {"applied": (1,), "pending": (2,)},
    ),
    "a down that failed without effect": (
        files(1),
        found(VersionRow(1), up(1), half(down(1), 0)),
        {"applied": (1,)},
    ),
    # golang-migrate went on, or back
    "version table ahead": (
        files(1, 2, 3, 4),
        found(VersionRow(3), up(1)),
        {"applied": (1, 2, 3), "adopt": (2, 3), "pending": (4,)},
    ),
    "version table ahead, file unknown": (
        files(1),
        found(VersionRow(9), up(1)),
        {"applied": (1,), "problems": (Kind.MISSING,)},
    ),
    "version table ahead and dirty": (
        files(1, 2),
        found(VersionRow(2, True), up(1)),
        {"applied": (1,), "pending": (2,), "problems": (Kind.DIRTY,)},
    ),
    "version table behind": (
        files(1, 2, 3),
        found(VersionRow(1), up(1), up(2), up(3)),
        {"applied": (1,), "forget": (2, 3), "pending": (2, 3)},
    ),
    "version table behind, nothing left": (
        files(1, 2),
        found(VersionRow(None), up(1), up(2)),
        {"forget": (1, 2), "pending": (1, 2)},
    ),
    "version table behind, at a file that never ran": (
        files(1, 2, 3),
        found(VersionRow(2), up(1), up(3)),
        {"applied": (1, 3), "pending": (2,), "problems": (Kind.FORCED, Kind.OUT_OF_ORDER)},
    ),
    "version table dirty where all is applied": (
        files(1),
        found(VersionRow(1, True), up(1)),
        {"applied": (1,), "problems": (Kind.DIRTY,)},
    ),
    "version table gone": (files(1, 2), found(None, up(1)), {"applied": (1,), "pending": (2,), "stale": True}),
    "version table gone after the last down": (files(1), found(None, up(1), down(1)), {"pending": (1,), "stale": True}),
    # files
    "edited": (
        [migration(1, up=file(1, "edited"))],
        found(VersionRow(1), up(1)),
        {"applied": (1,), "problems": (Kind.EDITED,)},
    ),
    "edited below the newest": (
        [migration(1, up=file(1, "edited")), migration(2)],
        found(VersionRow(2), up(1), up(2)),
        {"applied": (1, 2), "problems": (Kind.EDITED,)},
    ),
    "edited, but it was taken back": (
        [migration(1, up=file(1, "edited"))],
        found(VersionRow(None), up(1), down(1)),
        {"pending": (1,)},
    ),
    "edited down file": ([migration(1, down=file(1, "edited"))], found(VersionRow(1), up(1)), {"applied": (1,)}),
    "no checksum on record": (files(1), found(VersionRow(1), up(1, checksum="")), {"applied": (1,)}),
    "file gone": (
        files(2),
        found(VersionRow(2), up(1), up(2)),
        {"applied": (1, 2), "problems": (Kind.MISSING,)},
    ),
    "file gone, and its version is the current one": (
        files(1),
        found(VersionRow(2), up(1), up(2)),
        {"applied": (1, 2), "problems": (Kind.MISSING,)},
    ),
    "pending below the current version": (
        files(1, 2, 3, 4),
        found(VersionRow(3), up(1), up(3)),
        {"applied": (1, 3), "pending": (2, 4), "problems": (Kind.OUT_OF_ORDER,)},
    ),
    # half done, by us
    "newer tool": (
        files(1, 2),
        found(VersionRow(1), up(1, format=2)),
        {"applied": (1,), "pending": (2,), "problems": (Kind.NEWER_TOOL,)},
    ),
    "two half done": (
        files(1, 2, 3),
        found(VersionRow(2, True), up(1), half(up(2), 1), half(up(3), 1)),
        {"applied": (1,), "pending": (2, 3), "partial": 2, "problems": (Kind.PARTIAL, Kind.PARTIAL)},
    ),
    "half done and its file is gone": (
        files(1),
        found(VersionRow(2, True), up(1), half(up(2), 1)),
        {"applied": (1,), "partial": 2, "problems": (Kind.MISSING, Kind.PARTIAL)},
    ),
    "half down and its file is gone": (
        files(1),
        found(VersionRow(1, True), up(1), up(2), half(down(2), 1)),
        {"applied": (1,), "partial": 2, "problems": (Kind.PARTIAL,)},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_reconcile(name: str) -> None:
    migrations, history, expected = CASES[name]
    assert facts(reconcile(migrations, history)) == expected


def test_the_version_is_the_highest_applied_and_dirty_is_that_of_the_version_table() -> None:
    assert reconcile(files(1, 2), found(VersionRow(2), up(1), up(2))).version == 2
    assert reconcile(files(1, 2), found(VersionRow(None))).version is None
    assert reconcile(files(1), found(VersionRow(1, True))).dirty
    assert not reconcile(files(1), found(VersionRow(1))).dirty


# ---------------------------------------------------------------- half done, with every version table beside it

# Version 2 of three, 3 statements. In which of them may orch go on by itself? It writes the record and the version table, and on
# a server without transactions it can die between the two.
POINTERS = [None, *(VersionRow(v, d) for v in (None, -1, 1, 2, 3) for d in (False, True))]
EXPLAINED: dict[tuple[Direction, int, bool], list[VersionRow | None]] = {
    (UP, 0, True): [None, VersionRow(1), VersionRow(2, True)],
    (UP, 1, False): [None, VersionRow(2, True)],
    (UP, 1, True): [None, VersionRow(2, True)],
    (UP, 2, False): [None, VersionRow(2, True)],
    (UP, 2, True): [None, VersionRow(2, True)],
    (UP, 3, False): [None, VersionRow(2, True), VersionRow(2)],
    (DOWN, 0, True): [None, VersionRow(2), VersionRow(1, True)],
    (DOWN, 1, False): [None, VersionRow(1, True)],
    (DOWN, 1, True): [None, VersionRow(1, True)],
    (DOWN, 2, False): [None, VersionRow(1, True)],
    (DOWN, 2, True): [None, VersionRow(1, True)],
    (DOWN, 3, False): [None, VersionRow(1, True), VersionRow(1)],
}


@pytest.mark.parametrize(("direction", "applied", "in_flight"), EXPLAINED)
@pytest.mark.parametrize("version_row", POINTERS, ids=str)
def test_half_done(direction: Direction, applied: int, in_flight: bool, version_row: VersionRow | None) -> None:
    before = [up(1)] if direction is UP else [up(1), up(2)]
    began = half(up(2) if direction is UP else down(2), applied, in_flight=in_flight)
    state = reconcile(files(1, 2, 3), found(version_row, *before, began))
    assert state.applied == (1,)
    assert state.pending == ((2, 3) if direction is UP else (3,))
    assert state.partial == began
    explained = version_row in EXPLAINED[direction, applied, in_flight]
    kind = Kind.IN_FLIGHT if in_flight else Kind.PARTIAL
    assert [problem.kind for problem in state.problems] == ([kind] if explained else [Kind.FORCED, kind])
    assert state.version_row_stale is (version_row is None)
    assert bool(state.blocked(direction)) is not explained, "its own direction continues it, unless somebody forced"
    other = DOWN if direction is UP else UP
    assert state.blocked(other), "the other direction waits until it is finished"
    assert not state.adopt
    assert not state.forget


def test_half_down_of_the_first_version() -> None:
    state = reconcile(files(1), found(VersionRow(-1, True), up(1), half(down(1), 1)))
    assert [problem.kind for problem in state.problems] == [Kind.PARTIAL]
    assert (state.version, state.applied, state.pending) == (None, (), ())
    finished = reconcile(files(1), found(VersionRow(None), up(1), half(down(1), 3)))
    assert [problem.kind for problem in finished.problems] == [Kind.PARTIAL]


# ---------------------------------------------------------------- what blocks what, and what is said


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("only a version table, dirty", BOTH),
        ("only a version table, file unknown", BOTH),
        ("edited", (UP,)),  # the newest: it can be rolled back, with what its down file says now
        ("edited below the newest", BOTH),
        ("newer tool", BOTH),
        ("two half done", BOTH),
        ("half done and its file is gone", BOTH),
        ("pending below the current version", (UP,)),
        ("file gone", ()),
    ],
)
def test_what_a_problem_blocks(name: str, blocks: tuple[Direction, ...]) -> None:
    migrations, history, _ = CASES[name]
    state = reconcile(migrations, history)
    assert tuple(direction for direction in BOTH if state.blocked(direction)) == blocks
    assert all(problem.what and problem.hint for problem in state.problems)


def test_out_of_order_can_be_allowed() -> None:
    migrations, history, _ = CASES["pending below the current version"]
    state = reconcile(migrations, history, out_of_order=True)
    assert not state.problems
    assert state.pending == (2, 4)


def test_a_renamed_file_is_only_a_note() -> None:
    state = reconcile([migration(1, name="better")], found(VersionRow(1), up(1)))
    assert state.problems == ()
    assert state.notes == ("version 1 was applied as 'm1' and is now called 'better'",)


def test_problems_name_what_a_person_needs() -> None:
    when = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    edited = reconcile([migration(1, up=file(1, "x"))], found(VersionRow(1), up(1, finished_at=when, actor="ann@ci")))
    assert "1_m1.up.sql was edited after it was applied on 2026-07-01 12:00:00 UTC by ann@ci" in edited.problems[0].what
    assert "--accept 1_m1.up.sql" in edited.problems[0].hint
    late = reconcile(files(1, 2, 3), found(VersionRow(3), up(1), up(3)))
    assert "current version 3: 2 ('m2')" in late.problems[0].what
    dirty = reconcile(files(1, 2, 3), found(VersionRow(2, True)))
    assert "version 2 up or version 3 down" in dirty.problems[0].what
    first = reconcile(files(0, 1), found(VersionRow(-1, True)))
    assert "version 0 down" in first.problems[0].what
    zero = reconcile(files(0, 1), found(VersionRow(0, True)))
    assert "version 0 up or version 1 down" in zero.problems[0].what
    stopped = reconcile(files(1), found(VersionRow(1, True), half(up(1, error="f:3: no"), 1)))
    assert "version 1 (up) stopped at statement 2 of 3: f:3: no" in stopped.problems[0].what


def test_version_zero_is_a_version() -> None:
    assert facts(reconcile(files(0, 1), found(VersionRow(0)))) == {"applied": (0,), "adopt": (0,), "pending": (1,)}
    assert facts(reconcile(files(0, 1), found(VersionRow(0), up(0)))) == {"applied": (0,), "pending": (1,)}


# ---------------------------------------------------------------- version tables


@pytest.mark.parametrize(
    ("applied", "version", "direction", "during", "after"),
    [
        ([], 1, UP, VersionRow(1, True), VersionRow(1)),
        ([1], 2, UP, VersionRow(2, True), VersionRow(2)),
        ([1, 3], 2, UP, VersionRow(3, True), VersionRow(3)),
        ([1, 2], 2, DOWN, VersionRow(1, True), VersionRow(1)),
        ([1], 1, DOWN, VersionRow(-1, True), VersionRow(None)),
        ([1, 2, 3], 2, DOWN, VersionRow(3, True), VersionRow(3)),
        ([1, 10], 10, DOWN, VersionRow(1, True), VersionRow(1)),
    ],
)
def test_rows_of_the_version_table(
    applied: list[int], version: int, direction: Direction, during: VersionRow, after: VersionRow
) -> None:
    assert version_row_during(applied, version, direction) == during
    assert version_row_after(applied, version, direction) == after


# ---------------------------------------------------------------- records


def test_the_latest_effective_attempt_counts() -> None:
    records = [half(up(1, 3), 0), up(1), half(down(1, 2), 1), half(up(2), 0), half(up(3), 0, in_flight=True)]
    latest = latest_effective(records)
    assert {version: record.number for version, record in latest.items()} == {1: 2, 3: 1}
    assert list(latest) == sorted(latest)
    assert latest_effective(reversed(records)) == latest
    gone_on = [up(1), half(down(1, 2), 1), half(down(1, 3), 2), half(down(1, 4), 0), half(up(2), 1), half(up(2, 2), 0)]
    assert {version: record.number for version, record in latest_effective(gone_on).items()} == {1: 1}
    assert [next_attempt(records, version) for version in (1, 2, 9)] == [4, 2, 1]


def script(*sources: str) -> Script:
    statements = tuple(Statement(source, source, 0, 1, True) for source in sources)
    return Script(file(1), ";".join(sources), statements, False)


def stopped(of: Script, applied: int, *, in_flight: bool = False) -> Attempt:
    prefix = (prefix_in_flight if in_flight else prefix_checksum)(of, applied)
    return half(up(1), applied, in_flight=in_flight)._replace(prefix=prefix, total=len(of.statements))


@pytest.mark.parametrize(
    ("applied", "in_flight", "now", "expected"),
    [
        (1, False, ["a", "b", "c"], True),
        (1, False, ["a", "mended", "and more", "c"], True),
        (1, False, ["a"], True),
        (1, False, ["changed", "b", "c"], False),
        (1, False, ["b", "a", "c"], False),
        (2, False, ["a"], False),
        (0, True, ["a", "x"], True),
        (0, True, ["changed", "b"], False),
        (0, True, [], False),
        (1, True, ["a", "b", "changed"], True),
        (1, True, ["a", "changed", "c"], False),
        (1, True, ["a"], False),
        (3, False, ["a", "b", "c"], True),
        (3, False, ["a", "b", "c", "d"], True),
    ],
)
def test_resumable(applied: int, in_flight: bool, now: list[str], expected: bool) -> None:
    attempt = stopped(script("a", "b", "c"), applied, in_flight=in_flight)
    assert resumable(attempt, script(*now)) is expected


def test_the_prefix_once_it_is_known_what_landed() -> None:
    whole = script("a", "b", "c")
    attempt = stopped(whole, 1, in_flight=True)
    assert prefix_landed(attempt, done=True) == prefix_checksum(whole, 2)
    assert prefix_landed(attempt, done=False) == prefix_checksum(whole, 1)


def test_a_prefix_is_not_its_statements_glued_together() -> None:
    assert prefix_checksum(script("ab", "c"), 2) != prefix_checksum(script("a", "bc"), 2)
    assert prefix_checksum(script("a"), 0) == ""


def test_prefixes_are_the_same_in_whatever_order_they_are_asked_for() -> None:
    whole = script("a", "b\r\n", "c", "d")
    expected = ["", *(f"sha256:{hashlib.sha256(text).hexdigest()}" for text in (b"a\0", b"a\0b\n\0", b"a\0b\n\0c\0"))]
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 1, 2, 3, 2, 3, 1, 0, 3), (1, 0, 1), (0, 3, 1, 2), (3, 2)):
        prefixes = Prefixes(whole)
        assert [prefixes.checksum(count) for count in order] == [expected[count] for count in order]
        assert prefixes.in_flight(1) == prefix_in_flight(whole, 1) == f"{expected[1]}+{expected[2]}"


def test_digest_changes_with_what_a_plan_depends_on_and_with_nothing_else() -> None:
    history = found(VersionRow(1), up(1))
    base = digest(history)
    assert digest(found(VersionRow(1), up(1, actor="b", error="x", seconds=3.0, reason="y", tool="2"))) == base
    assert digest(found(VersionRow(1), up(1), half(up(2), 0))) == base, "a try without effect changes nothing"
    different = [
        found(None, up(1)),
        found(VersionRow(None), up(1)),
        found(VersionRow(2), up(1)),
        found(VersionRow(1, True), up(1)),
        found(VersionRow(1), up(1, checksum="sha256:other")),
        found(VersionRow(1), up(1), down(1)),
        found(VersionRow(1), half(up(1), 1)),
        found(VersionRow(1), half(up(1), 1, in_flight=True)),
        found(VersionRow(1)),
        History(exists=False),
    ]
    assert len({base, *map(digest, different)}) == len(different) + 1
    two = found(VersionRow(2), up(1), up(2))
    assert digest(two) == digest(two._replace(attempts=two.attempts[::-1]))


# ---------------------------------------------------------------- whatever is there

versions = st.integers(0, 6)
attempts = st.builds(
    lambda version, attempt, direction, applied, in_flight, done, checksum: Attempt(
        version, attempt, f"m{version}", direction, checksum, applied, 3, in_flight and not done, done=done
    ),
    versions,
    st.integers(1, 4),
    st.sampled_from(Direction),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "sha256:x"]),
)
histories = st.builds(
    lambda version_row, records: found(version_row, *{(r.version, r.number): r for r in records}.values()),
    st.none() | st.builds(VersionRow, st.none() | versions | st.just(-1), st.booleans()),
    st.lists(attempts, max_size=8),
)
catalogs = st.sets(versions).map(lambda chosen: files(*sorted(chosen)))


def ascending(values: Iterable[int]) -> bool:
    values = list(values)
    return values == sorted(set(values))


@settings(max_examples=400, deadline=None)
@given(catalogs, histories, st.booleans())
def test_invariants(migrations: list[Migration], history: History, out_of_order: bool) -> None:
    state = reconcile(migrations, history, out_of_order=out_of_order)
    known = {m.version for m in migrations}
    applied, pending, adopt, forget = (set(s) for s in (state.applied, state.pending, state.adopt, state.forget))
    assert all(ascending(s) for s in (state.applied, state.pending, state.adopt, state.forget))
    assert not applied & pending
    assert adopt <= applied
    assert adopt <= known
    assert not forget & applied
    assert pending <= known
    assert state.version == max(applied, default=None)
    assert state.partial is None or state.partial.version not in applied
    mixed = history._replace(attempts=history.attempts[::-1])
    assert reconcile(migrations, mixed, out_of_order=out_of_order) == state

    for version in known - applied - pending:
        assert state.partial is not None
        assert state.partial.version == version, "a file is applied, pending or half way down"
    if history.version_row and not state.problems:
        assert state.version_row_stale or history.version_row == VersionRow(state.version)

    # Once what golang-migrate did is written down, there is nothing more of it to write, and nothing else has changed.
    written = [up(v, 9, origin=Origin.ADOPTED) for v in adopt] + [down(v, 9, origin=Origin.ADOPTED) for v in forget]
    version_row = (
        VersionRow(state.version) if state.version_row_stale and state.partial is None else history.version_row
    )
    followed = history._replace(version_row=version_row, attempts=(*history.attempts, *written))
    again = reconcile(migrations, followed, out_of_order=out_of_order)
    assert (again.adopt, again.forget) == ((), ())
    assert (again.applied, again.pending, again.version) == (state.applied, state.pending, state.version)
    assert not again.version_row_stale or state.partial is not None
