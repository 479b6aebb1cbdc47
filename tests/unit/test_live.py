"""The live view and its plain counterpart, fed with events: what a person has to look at comes first, the rest is counted."""

from __future__ import annotations

import io
import time

from rich.console import Console

from orchestrator import events
from orchestrator.events import Failure
from orchestrator.model import Direction, Mark
from orchestrator.views.live import LiveView, spoken
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
    assert told[0].startswith("db-0: still at work after 10 s: 3 add_note")
    assert told[5].startswith("and 2 more at work for 10 s or longer")
