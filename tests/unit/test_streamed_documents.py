"""JSON documents of large fleets: complete, in the usual layout, and never in memory as a whole."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import events
from orchestrator.events import Failure
from orchestrator.model import Direction
from orchestrator.planning.plan import DatabasePlan, Plan, Step
from orchestrator.planning.status import PENDING, DatabaseStatus, Status
from orchestrator.views.document import DocumentView, json_pieces, json_text
from orchestrator.views.status import status_document
from orchestrator.views.text import plan_document

MEMBERS = 10_000


@pytest.mark.parametrize(
    "document",
    [
        {"format": 1, "databases": []},
        {
            "format": 1,
            "databases": [{"id": "a\n b", "steps": [], "error": {"what": "##[x] \u0085 \x7f"}}],
            "checks": [{}],
        },
        {"databases": ["a", None, 1.5, {"x": {"y": [1, [2]]}}], "ชื่อ": "ค่า"},
        {"numbers": {1: [(), (2, 3)]}},
        {},
        [{"a": 1}],
    ],
)
def test_a_document_in_pieces_is_the_document(document: Any) -> None:
    lazy = document
    if isinstance(document, dict):
        lazy = {key: iter(value) if isinstance(value, list) else value for key, value in document.items()}
    assert "".join(json_pieces(lazy)) == json_text(document, indent=2) + "\n"


STEPS = tuple(Step(version, "step", Direction.UP, f"m/{version}.up.sql", "0" * 64, 1, True) for version in range(50))


def status() -> dict[str, Any]:
    pending = tuple(range(50))
    one = DatabaseStatus("postgres-t", "postgres", "t", "host:1", "t", PENDING, True, pending=pending, group="t")
    return status_document(Status((one,) * MEMBERS))


def plan() -> dict[str, Any]:
    return plan_document(
        Plan(Direction.UP, (DatabasePlan("postgres-t", "postgres", "t", "host:1", steps=STEPS),) * MEMBERS)
    )


@pytest.mark.parametrize("make", [status, plan])
def test_a_document_of_ten_thousand_databases_takes_the_memory_of_one(make: Any) -> None:
    tracemalloc.start()
    size, pieces = 0, json_pieces(make())
    for piece in pieces:
        size += len(piece)
        if size > 400_000:  # the rest is alike, and tracemalloc is slow
            break
    left = sum(1 for _ in _without_looking(pieces, 10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert left == 10
    assert peak < 300_000


def _without_looking(pieces: Iterator[str], many: int) -> Iterator[str]:
    for _, piece in zip(range(many), pieces, strict=False):
        yield piece


def test_the_result_of_a_run_is_packed_while_it_lasts() -> None:
    view = DocumentView()
    failure = Failure("failed", 1, "what\n\udce9", detail="\x85")
    tracemalloc.start()
    for number in range(300):
        id = f"postgres-t{number}"
        view(events.DatabaseStarted(id, len(STEPS)))
        for step in STEPS:
            view(events.StepFinished(id, step.version, step.name, step.direction, 0.0123456))
        if number == 7:
            view(events.DatabaseFailed(id, failure))
        elif number != 9:
            view(events.DatabaseFinished(id, 49, 50, 1.0))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    view(events.RunFinished("r", 1.0, 1, (), (), (), ()))
    document = json.loads("".join(json_pieces(view.document())))
    assert document["run_id"] == "r"
    assert [one["id"] for one in document["databases"]] == [f"postgres-t{number}" for number in range(300)]
    assert {one["result"] for one in document["databases"]} == {"done", "failed", "running"}
    assert document["databases"][7]["error"] == failure.document()
    assert document["databases"][0]["steps"][1] == {"version": 1, "name": "step", "direction": "up", "seconds": 0.012}
    assert len(document["databases"][7]["steps"]) == 50
    assert held < 300 * 2_000  # a database and its fifty steps would be 10 KB and more
