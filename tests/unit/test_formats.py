"""The table of stdout's formats: every view is there, and every format that a command offers is in it."""

from __future__ import annotations

import pytest

from orchestrator.cli import options
from orchestrator.cli.commands import graph, history, lint
from orchestrator.views.formats import FORMATS, view

OFFERED = {
    "clone": options.Output,
    "graph": graph.Format,
    "history": history.HistoryOutput,
    "lint": lint.LintOutput,
    "orphans": options.Output,
    "plan": options.PlanOutput,
    "recorded": options.Output,
    "repair": options.Output,
    "servers": options.Output,
    "status": options.Output,
    "verify": options.Output,
    "wait": options.Output,
}
BESIDE = {("plan", "github")}  # annotations on stdout, the summary where GitHub's variables say


@pytest.mark.parametrize(("what", "output"), [(what, output) for what in FORMATS for output in FORMATS[what]])
def test_every_format_has_its_view(what: str, output: str) -> None:
    assert view(what, output).__doc__


@pytest.mark.parametrize("what", OFFERED)
def test_a_command_offers_what_the_table_has(what: str) -> None:
    offered = {str(one) for one in OFFERED[what] if (what, str(one)) not in BESIDE}
    assert offered == set(FORMATS[what])
