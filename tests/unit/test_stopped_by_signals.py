"""Signals that come while their own thread writes a line: a run stops, and no line is lost."""

from __future__ import annotations

import io
import os
import signal
import sys

import pytest

from orchestrator.cli.stage import stopped_by_signals
from orchestrator.cli.streams import tell


class _Interrupted(io.RawIOBase):
    """Receives a signal in the middle of its first writes, as happens when a reader is quick."""

    def __init__(self, signals: int) -> None:
        self.written = b""
        self.signals = signals

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        text = bytes(memoryview(data))  # type: ignore[arg-type]
        self.written += text
        if self.signals:
            self.signals -= 1
            os.kill(os.getpid(), signal.SIGINT)
        return len(text)


def test_a_signal_in_the_middle_of_a_line_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = _Interrupted(signals=2)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=True))
    calls: list[int] = []

    def stop() -> None:
        calls.append(1)
        tell(f"stop {len(calls)}\n")

    with stopped_by_signals(stop):
        tell("a line\n")
        tell("another\n")
    assert len(calls) == 2
    assert sorted(raw.written.decode().splitlines()) == ["a line", "another", "stop 1", "stop 2"]
    assert raw.written.startswith(b"a line\n")
