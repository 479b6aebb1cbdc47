"""The one table of everything that is shown on stdout: what it is, in which formats, and the view that makes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

FORMATS: Mapping[str, Mapping[str, str]] = {
    "baseline": {"text": "repair:baseline_text"},
    "clones": {"text": "clone:clones_text", "json": "clone:clones_document"},
    "clone": {"text": "clone:clone_text", "json": "clone:clone_document"},
    "doctor": {"text": "doctor:health_text", "json": "doctor:health_document"},
    "drift": {
        "text": "drift:drift_text",
        "json": "drift:drift_document",
        "github": "drift:drift_commands",
        "junit": "drift:drift_junit",
    },
    "graph": {
        "text": "graph_text:graph_tree",
        "mermaid": "graph_text:graph_mermaid",
        "dot": "graph_text:graph_dot",
        "json": "graph_text:graph_document",
    },
    "history": {
        "text": "history_text:history_text",
        "json": "history_text:histories_document",
        "csv": "history_text:attempts_csv",
    },
    "lint": {
        "text": "lint:lint_text",
        "json": "lint_reports:lint_document",
        "sarif": "lint_reports:sarif_document",
        "github": "lint_reports:github_commands",
        "gitlab": "lint_reports:gitlab_document",
        "junit": "lint_reports:junit_text",
    },
    "orphans": {"text": "orphans:orphans_text", "json": "orphans:orphans_document"},
    "plan": {"text": "text:plan_text", "json": "text:plan_document", "markdown": "markdown:plan_markdown"},
    "recorded": {"text": "repair:recorded_text", "json": "repair:recorded_document"},
    "repair": {"text": "repair:offered_text", "json": "repair:offered_document"},
    "rule": {"text": "lint:rule_text", "json": "lint:rule_document"},
    "servers": {"text": "dev:servers_text", "json": "dev:servers_document"},
    "servers stopped": {"text": "dev:stopped_text"},
    "status": {"text": "status:status_text", "json": "status:status_document"},
    "stats": {"json": "stats:stats_document"},
    "validate": {"text": "validate:validated_text", "json": "validate:validated_document"},
    "verify": {"text": "verify:verify_text", "json": "verify:verify_document"},
    "wait": {"text": "wait:wait_text", "json": "wait:wait_document"},
}
"""What is shown → format → the function of orchestrator.views that makes it.

A view gets a finished result and returns a text for people, `Exact` text, a document (for JSON), or for `github` a list
of workflow commands for its runner.
"""


class Exact(str):
    """A text that is written as it is, such as CSV: its control characters are part of it."""

    __slots__ = ()


def view(what: str, output: str) -> Callable[..., Any]:
    """Return the function that shows this in this format."""
    module, _, name = FORMATS[what][output].partition(":")
    function: Callable[..., Any] = getattr(import_module(f"orchestrator.views.{module}"), name)
    return function
