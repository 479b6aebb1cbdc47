"""A view can never fail a run; and exit codes are folded in one way."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from estate import Estate

from orchestrator.errors import exit_code_of
from orchestrator.events import Event, RunStarted
from orchestrator.execution.sinks import tolerant

ONE = {"000001_a.up.sql": "CREATE TABLE a ();", "000001_a.down.sql": "DROP TABLE a;"}

BROKEN = """
import sys
from orchestrator.views import document, junit, live, plain, text
def broken(self, event):
    if type(event).__name__ == {event!r}:
        raise KeyError("a fault of this view")
{view}.__call__ = broken
from orchestrator.cli import main
sys.argv = ["orch", "apply", *sys.argv[1:]]
sys.exit(main())
"""


@pytest.mark.parametrize("event", ["RunStarted", "StepStarted", "DatabaseFinished", "RunFinished"])
@pytest.mark.parametrize("view", ["plain.PlainView", "text.OutcomeTable", "document.JsonLinesView", "junit.JUnitView"])
def test_a_view_that_raises_fails_nothing(pg_estate: Estate, view: str, event: str) -> None:
    pg_estate.add("postgres", "a", ONE)
    output = "jsonl" if "Json" in view else "text"
    done = subprocess.run(
        [sys.executable, "-c", BROKEN.format(view=view, event=event), "--output", output, "--junit", "j.xml"],
        cwd=pg_estate.root,
        env={**os.environ, **pg_estate.env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert pg_estate.tables("a") == {"a"}
    assert "failed and shows nothing more: KeyError: 'a fault of this view'" in done.stderr
    assert pg_estate.status("postgres-a")["version"] == 1


def test_a_sink_of_a_program_fails_nothing() -> None:
    def sink(_event: Event) -> None:
        raise ValueError("no")

    with pytest.warns(RuntimeWarning, match="a sink of events failed: ValueError: no"):
        tolerant(sink)(RunStarted("r", (), 0))


@pytest.mark.parametrize(
    ("codes", "code"), [([], 0), ([0, 0], 0), ([7], 7), ([7, 7, 0], 7), ([7, 5], 1), ([1, 4], 1), ([0, 4], 4)]
)
def test_exit_codes_are_folded(codes: list[int], code: int) -> None:
    assert exit_code_of(codes) == code
