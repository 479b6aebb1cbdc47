"""Reports for machines beside stdout: JUnit, GitHub annotations, summary and outputs, GitLab code quality.

They are views of the event stream like any other, written when the last event is in, or when a command is refused
before it began.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.console import readable, warn
from orchestrator.cli.options import StreamOutput
from orchestrator.cli.streams import put
from orchestrator.errors import OrchError, UsageError, exit_code_of
from orchestrator.events import Event, Failure, Refused, RunFinished, Sink
from orchestrator.views.document import DocumentView

if TYPE_CHECKING:
    from orchestrator.analysis.risks import Risk
    from orchestrator.planning.plan import Plan

_GITLAB_JUNIT = "orch-junit.xml"
_GITLAB_QUALITY = "gl-code-quality-report.json"

_active: list[Reports] = []


class Reports:
    """The reports that one command was asked for; `manifest` is where findings without a place of their own stand."""

    def __init__(self, output: StreamOutput, junit: str, manifest: str) -> None:
        self._output = output
        self._sinks: list[Sink] = []
        self._refused: list[Failure] = []
        self._over = False
        self._document = DocumentView()
        self._files: dict[str, Callable[[Plan | None], str]] = {}
        if junit_file := junit or (_GITLAB_JUNIT if output is StreamOutput.gitlab else ""):
            from orchestrator.views.junit import JUnitView

            view = JUnitView()
            self._sinks.append(view)
            self._files[junit_file] = view.text
        if output is StreamOutput.jsonl:
            from orchestrator import __version__
            from orchestrator.views.document import JsonLinesView

            self._sinks.append(JsonLinesView(lambda line: put(line + "\n", now=True), __version__))
        if output is StreamOutput.github:
            from orchestrator.views.github import GithubView

            self._github = GithubView(located)
            self._sinks += [self._github, self._document]
        if output is StreamOutput.gitlab:
            from orchestrator.views.gitlab import CodeQualityView

            quality = CodeQualityView(located(manifest), located)
            self._sinks.append(quality)
            self._files[_GITLAB_QUALITY] = lambda _plan: quality.text()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        for sink in self._sinks:
            sink(event)

    def empty_files(self) -> None:
        """Find out before the run whether its reports can be written; nobody must take what the last run left for ours."""
        for path in tuple(self._files):
            try:
                Path(path).write_text("", encoding="utf-8")
            except OSError as error:
                del self._files[path]
                raise UsageError(f"{path} cannot be written: {error.strerror}") from None

    def refuse(self, failures: Sequence[Failure]) -> None:
        """Tell all views why nothing was begun, and write the reports; nothing if they are written already."""
        if self._over:
            return
        self._refused += failures
        for failure in failures:
            self(Refused(failure))
        self(RunFinished("", 0.0, exit_code_of(failure.exit_code for failure in failures)))
        self.finish(None)

    def finish(self, plan: Plan | None) -> bool:
        """Write the reports; False if one cannot be, which a person is told."""
        if self._over:
            return True
        self._over = True
        written = [self._write(path, text, plan) for path, text in self._files.items()]
        if self._output is StreamOutput.github:
            from orchestrator.views.markdown import run_markdown

            put_commands(self._github.commands())
            refused = [failure.document() for failure in self._refused]
            steps = sum(len(planned.steps) for planned in plan.databases) if plan else 0
            written.append(put_summary(lambda room: run_markdown(plan, self._document.document(), refused, room)))
            written.append(
                put_outputs(
                    has_changes=plan is not None and plan.has_changes,
                    applied_count=self._github.applied,
                    pending_count=max(0, steps - self._github.applied),
                )
            )
        return all(written)

    def _write(self, path: str, text: Callable[[Plan | None], str], plan: Plan | None) -> bool:
        try:
            return _write(path, text(plan))
        except Exception as error:  # noqa: BLE001 - a report can fail, the run that it tells of is over
            warn(f"error: {path} cannot be written: its view failed ({type(error).__name__})")
            return False


def begin(output: StreamOutput, junit: str | None, file: str | None) -> Sink | None:
    """Have the reports made that are asked for, if any, and return what must be told every event."""
    if output not in (StreamOutput.github, StreamOutput.gitlab, StreamOutput.jsonl) and not junit:
        return None
    reports = Reports(output, junit or "", _manifest(file))
    _active.append(reports)
    reports.empty_files()
    return reports


def finish(plan: Plan | None) -> bool:
    """Write what was asked for: the run is over. Returns whether all could be written."""
    return all(reports.finish(plan) for reports in _active)


def refuse(failures: Sequence[Failure], output: str, junit: str) -> None:
    """Write what was asked for: the command ended before it began, perhaps because it was not even understood."""
    if not _active:
        with suppress(OrchError):
            begin(StreamOutput(output) if output in tuple(StreamOutput) else StreamOutput.text, junit, None)
    for reports in _active:
        reports.refuse(failures)


# ---------------------------------------------------------------- where GitHub looks


def put_commands(commands: Sequence[str]) -> None:
    """Print workflow commands. Secrets are masked first, and only where a runner takes the command out of the log."""
    from orchestrator.manifest.redact import redactor
    from orchestrator.views.github import mask

    masks = [line for secret in redactor.secrets for line in mask(secret)] if _on_github() else []
    put("".join(line + "\n" for line in masks), secret=True)
    put("".join(line + "\n" for line in map(readable, commands)), now=True)


def plan_commands(plan: Plan, risks: Mapping[str, Sequence[Risk]]) -> list[str]:
    """Return the annotations of a plan: what cannot be planned, then what to look at."""
    from orchestrator.views.github import command, failure_annotations, limited

    failures = [(planned.id, planned.failure) for planned in plan.databases if planned.failure]
    errors = failure_annotations(failures, located)
    warnings = [
        command("warning", risk.what, file=located(risk.where.path), line=str(risk.where.line), title=id)
        for id, found in risks.items()
        for risk in found
    ]
    return [*limited(errors, "error"), *limited(warnings, "warning")]


def put_summary(markdown: Callable[[int], str]) -> bool:
    """Add to the summary of the job, which is dropped whole if all its parts together are too large: `markdown` gets the room."""
    from orchestrator.views.markdown import MAX_SUMMARY

    path = os.environ.get("GITHUB_STEP_SUMMARY")
    try:
        room = MAX_SUMMARY - (Path(path).stat().st_size if path else 0)
    except OSError:
        room = MAX_SUMMARY
    return room <= 0 or _write(path, markdown(room), "a")


def put_outputs(*, has_changes: bool, applied_count: int, pending_count: int) -> bool:
    """Set the outputs of the step."""
    values = {"has_changes": str(has_changes).lower(), "applied_count": applied_count, "pending_count": pending_count}
    return _write(os.environ.get("GITHUB_OUTPUT"), "".join(f"{name}={value}\n" for name, value in values.items()), "a")


def _write(path: str | None, text: str, mode: str = "w") -> bool:
    """Write a file, if it has a name; False if that fails, which is told: what was done is done, and told too."""
    try:
        if path:
            with Path(path).open(mode, encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
    except OSError as error:
        warn(f"error: {path} cannot be written: {error.strerror}")
        return False
    return True


def _on_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def located(path: str) -> str:
    """Return a path as it is in the repository, which is where annotations are shown."""
    root = os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR")
    full = Path(os.path.normpath(Path.cwd() / path))
    return str(full.relative_to(root)) if root and full.is_relative_to(root) else path


def _manifest(file: str | None) -> str:
    from orchestrator.manifest.load import find_manifest

    try:
        return str(find_manifest(file, os.environ, Path.cwd()))
    except OrchError:
        return file or "databases.yaml"
