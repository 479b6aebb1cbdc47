"""The live view and its plain counterpart, fed with events: what a person has to look at comes first, the rest is counted."""

from __future__ import annotations

import io
import re
import time
from datetime import UTC, datetime

import pytest
from rich.console import Console

from orchestrator import events
from orchestrator.events import Failure
from orchestrator.model import Direction, Mark
from orchestrator.views.live import LiveView
from orchestrator.views.pace import Pace, spoken
from orchestrator.views.plain import FIRST_TOLD, PlainView

FAILURE = Failure("statement", 1, 'column "amount" does not exist', Mark("12_split.up.sql", 4, 1))


def drawn(view: LiveView, console: Console) -> str:
    with console.capture() as captured:
        console.print(view._draw())
    return captured.get()


def run(size: int) -> tuple[LiveView, Console]:
    console = Console(file=io.StringIO(), width=100, height=24)
    view = LiveView(console, str)
    view(events.RunStarted("r", tuple(f"db-{number:04}" for number in range(size)), size * 2))
    return view, console


def test_failures_come_first_and_the_rest_is_counted() -> None:
    view, console = run(40)
    for number in range(30):
        view(events.DatabaseStarted(f"db-{number:04}", 2))
    for number in range(3, 10):
        view(events.StepFinished(f"db-{number:04}", 1, "a", Direction.UP, 0.1))
        view(events.DatabaseFinished(f"db-{number:04}", 1, 1, 0.1))
    view(events.DatabaseFailed("db-0020", FAILURE))
    view(events.DatabaseBlocked("db-0030", ("db-0020",)))
    view(events.StepStarted("db-0000", 4, "drop_legacy", Direction.UP, 1, 3))
    view(events.StatementStarted("db-0000", 4, 1, 3, "CREATE INDEX orders_note_idx ON orders (note)"))
    view(events.LockWaiting("db-0001", "migrate pid 811 on ci-7 since 14:02:11 UTC"))
    lines = drawn(view, console).splitlines()
    assert lines[0].startswith('✗  db-0020  failed   column "amount" does not exist  12_split.up.sql:4:1 ')
    assert "4  2/3 CREATE INDEX orders_note_idx" in lines[1]
    assert "waits for the migration lock: migrate pid 811 on ci-7 since 14:02:11 UTC" in lines[2]
    assert "and 21 more: 4 running, 1 blocked, 7 done, 9 waiting" in (line.rstrip() for line in lines)
    assert lines[-1].startswith("✓ 7  ▶ 22  ✗ 1  ⊘ 1  … 9   7 of 80 migrations")
    assert len(lines) < 24
    assert max(map(len, lines)) <= 100


def test_five_thousand_databases_are_drawn_in_no_time() -> None:
    view, console = run(5_000)
    for number in range(5_000):
        view(events.DatabaseStarted(f"db-{number:04}", 2))
    started = time.process_time()
    for _ in range(4):  # as often as in a second
        assert "and 4,981 more: 4,981 running" in drawn(view, console)
    assert time.process_time() - started < 1.0


def test_durations_are_read_at_a_glance() -> None:
    assert [spoken(seconds) for seconds in (0.44, 12.3, 185, 7500)] == ["0.4 s", "12 s", "3 min 5 s", "2 h 5 min"]


def test_a_log_tells_what_takes_long() -> None:
    told: list[str] = []
    view = PlainView(told.append)
    for number in range(8):
        view(events.DatabaseStarted(f"db-{number}", 1))
    view(events.StepStarted("db-0", 3, "add_note", Direction.UP, 0, 1))
    view(events.DatabaseFinished("db-7", 1, 1, 0.1))
    told.clear()
    view._say_what_is_long(time.monotonic() + FIRST_TOLD)
    assert len(told) == 6
    assert re.fullmatch(r"db-0: still at work after 10 s \(started at [0-9:]{8} UTC\): 3 add_note", told[0])
    assert told[5].startswith("and 2 more at work for 10 s or longer")
    told.clear()
    view._say_what_is_long(time.monotonic() + FIRST_TOLD + 30)
    assert told == [], "a line a minute"
    view._say_what_is_long(time.monotonic() + FIRST_TOLD + 61)
    assert told[0] == "db-0: still at work after 1 min 11 s: 3 add_note"


def test_how_far_it_is_and_what_it_waits_for_are_told_and_end() -> None:
    told: list[str] = []
    plain, (live, console) = PlainView(told.append), run(1)
    since = datetime(2026, 11, 2, 14, 2, 11, tzinfo=UTC)

    def now(*happened: events.Event) -> tuple[str, str]:
        for event in happened:
            live(event)
            plain(event)
        told.clear()
        plain._say_what_is_long(time.monotonic() + 1_000)
        plain._at_work["db-0000"].due = 0
        return drawn(live, console).splitlines()[0], told[0]

    begun = (
        events.DatabaseStarted("db-0000", 1),
        events.StatementStarted("db-0000", 4, 1, 3, "CREATE INDEX ON orders (note)"),
    )
    scanning = events.StepProgress("db-0000", 4, "building index: scanning table", 61, 100)
    row, line = now(*begun, scanning)
    assert re.search(r"2/3 CREATE INDEX ON orders \(note\) +61 %  0.0 s$", row)
    assert line.endswith("statement 2 of 3: CREATE INDEX ON orders (note); building index: scanning table, 61 %")
    row, line = now(events.StepWaiting("db-0000", 4, "4_x.up.sql", "backend 811 (user app)", "blocked by …", since))
    assert "4 waits for backend 811 (user app) since 14:02:11 UTC" in row
    assert line.endswith("61 %; waits for backend 811 (user app) since 14:02:11 UTC")
    row, line = now(events.StepWaiting("db-0000", 4, "4_x.up.sql", "", "", None))
    assert "2/3 CREATE INDEX" in row and "waits" not in row + line
    row, _ = now(events.StatementStarted("db-0000", 4, 2, 3, "ANALYZE orders"))
    assert "%" not in row
    row, _ = now(events.StatementStarted("db-0000", 5, 410, 1_000, "UPDATE orders"))
    assert re.search(r"411/1,000 UPDATE orders +41 %", row)


def test_the_rest_is_estimated_from_what_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pace = Pace()
    assert pace.told("scan", 1_000, 4_000) == "25 %"
    clock[0] += 30
    assert pace.told("scan", 2_500, 4_000) == "62 %, 30 s left"
    assert pace.told("sort", 10, 4_000) == "0 %", "something else is counted now"
    clock[0] += 300
    assert pace.told("sort", 11, 4_000) == "0 %", "too little to tell"
    assert pace.told("sort", 4_000, 4_000) == "100 %"
    assert pace.told("sort", 5, 0) == ""
