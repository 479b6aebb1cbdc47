"""The reports that machines read beside stdout: JUnit, GitHub's annotations, summary and outputs, GitLab's findings.

They are views of the event stream like any other, written when the last event is in, or when a command is refused
before it began.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.options import StreamOutput
from orchestrator.errors import UsageError
from orchestrator.events import Event, Failure, Refused, RunFinished, Sink
from orchestrator.views.document import DocumentView

if TYPE_CHECKING:
    from orchestrator.cli.stage import Broadcast
    from orchestrator.hazards import Hazard
    from orchestrator.plan import Plan

GITLAB_JUNIT = "orch-junit.xml"
GITLAB_QUALITY = "gl-code-quality-report.json"

_active: list[Reports] = []


class Reports:
    """The reports that one command was asked for."""

    def __init__(self, output: StreamOutput, junit: str | None) -> None:
        self._output = output
        self._sinks: list[Sink] = []
        self._refused: list[Failure] = []
        self._document = DocumentView()
        self._junit_file = junit or (GITLAB_JUNIT if output is StreamOutput.gitlab else None)
        if self._junit_file:
            from orchestrator.views.junit import JUnitView

            _writable(self._junit_file)
            self._junit = JUnitView()
            self._sinks.append(self._junit)
        if output is StreamOutput.github:
            from orchestrator.views.github import GithubView

            self._github = GithubView(_located)
            self._sinks += [self._github, self._document]
        if output is StreamOutput.gitlab:
            from orchestrator.views.gitlab import CodeQualityView

            self._quality = CodeQualityView("databases.yaml", _located)
            self._sinks.append(self._quality)

    def __call__(self, event: Event) -> None:
        """Take one event."""
        for sink in self._sinks:
            sink(event)

    def add(self, sink: Sink) -> None:
        """Have another view told of what is refused: the event stream on stdout."""
        self._sinks.append(sink)

    def refuse(self, failures: Sequence[Failure]) -> None:
        """Tell all views why nothing was begun, and write the reports."""
        self._refused += failures
        for failure in failures:
            self(Refused(failure))
        self(RunFinished("", 0.0, failures[0].exit_code))
        self.finish(None)

    def finish(self, plan: Plan | None) -> None:
        """Write the reports."""
        if self._junit_file:
            Path(self._junit_file).write_text(self._junit.text(), encoding="utf-8")
        if self._output is StreamOutput.gitlab:
            Path(GITLAB_QUALITY).write_text(self._quality.text(), encoding="utf-8")
        if self._output is StreamOutput.github:
            from dataclasses import asdict

            from orchestrator.views.markdown import run_markdown

            put_commands(self._github.commands())
            refused = [asdict(failure) for failure in self._refused]
            put_summary(run_markdown(plan, self._document.document(), refused))
            steps = sum(len(planned.steps) for planned in plan.databases) if plan else 0
            put_outputs(
                has_changes=plan is not None and plan.has_changes,
                applied_count=self._github.applied,
                pending_count=max(0, steps - self._github.applied),
            )


def begin(output: StreamOutput, broadcast: Broadcast, junit: str | None) -> None:
    """Have the reports made that are asked for."""
    if output in (StreamOutput.github, StreamOutput.gitlab, StreamOutput.jsonl) or junit:
        reports = Reports(output, junit)
        broadcast.sinks.append(reports)
        _active.append(reports)


def stream(sink: Sink) -> None:
    """Have a view told every event, and also why a command was refused."""
    _active[-1].add(sink)


def finish(plan: Plan | None) -> None:
    """Write what was asked for: the run is over."""
    while _active:
        _active.pop().finish(plan)


def refuse(failures: Sequence[Failure]) -> None:
    """Write what was asked for: the command ended before it began."""
    while _active:
        _active.pop().refuse(failures)


# ---------------------------------------------------------------- where GitHub looks


def put_commands(commands: Sequence[str]) -> None:
    """Print workflow commands. Secrets are masked first, and only where a runner takes the command out of the log."""
    from orchestrator.assembly import redactor
    from orchestrator.views.github import mask

    masks = [line for secret in redactor.secrets for line in mask(secret)] if _on_github() else []
    for line in [*masks, *commands]:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def plan_commands(plan: Plan, hazards: Mapping[str, Sequence[Hazard]]) -> list[str]:
    """Return the annotations of a plan: what cannot be planned, then what to look at."""
    from orchestrator.views.github import annotation, by_gravity, command, limited

    failures = [(planned.id, planned.failure) for planned in plan.databases if planned.failure]
    errors = [annotation("error", failure, id, _located) for id, failure in by_gravity(failures)]
    warnings = [
        command("warning", hazard.what, file=_located(hazard.where.path), line=str(hazard.where.line), title=id)
        for id, found in hazards.items()
        for hazard in found
    ]
    return [*limited(errors, "error"), *limited(warnings, "warning")]


def put_summary(markdown: str) -> None:
    """Add to the summary of the job."""
    _append("GITHUB_STEP_SUMMARY", markdown)


def put_outputs(*, has_changes: bool, applied_count: int, pending_count: int) -> None:
    """Set the outputs of the step."""
    values = {"has_changes": str(has_changes).lower(), "applied_count": applied_count, "pending_count": pending_count}
    _append("GITHUB_OUTPUT", "".join(f"{name}={value}\n" for name, value in values.items()))


def _append(variable: str, text: str) -> None:
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


def _on_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _located(path: str) -> str:
    """Return a path as it is in the repository, which is where annotations are shown."""
    root = os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR")
    full = Path.cwd() / path
    return str(full.relative_to(root)) if root and full.is_relative_to(root) else path


def _writable(path: str) -> None:
    """Find out before the run whether its report can be written."""
    try:
        with Path(path).open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
