"""The table of stdout's formats: every view is there, and every format that a command offers is in it."""

from __future__ import annotations

import pytest

from orchestrator.cli import options
from orchestrator.cli.commands import drift, graph, history, lint
from orchestrator.views.formats import FORMATS, view

OFFERED = {
    "clone": options.Output,
    "drift": drift.DriftOutput,
    "graph": graph.Format,
    "history": history.HistoryOutput,
    "lint": lint.LintOutput,
    "orphans": options.Output,
    "plan": options.PlanOutput,
    "recorded": options.Output,
    "repair": options.Output,
    "servers": options.Output,
    "status": options.Output,
    "validate": options.Output,
    "verify": options.Output,
    "wait": options.Output,
}
# Annotations on stdout, and the summary where GitHub's variables say; a report in a file of its own.
BESIDE = {("plan", "github"), ("drift", "junit")}


@pytest.mark.parametrize(("what", "output"), [(what, output) for what in FORMATS for output in FORMATS[what]])
def test_every_format_has_its_view(what: str, output: str) -> None:
    assert view(what, output).__doc__


@pytest.mark.parametrize("what", OFFERED)
def test_a_command_offers_what_the_table_has(what: str) -> None:
    offered = {str(one) for one in OFFERED[what] if (what, str(one)) not in BESIDE}
    assert offered == {one for one in FORMATS[what] if (what, one) not in BESIDE}
