"""What `apply` and `rollback` share: show a plan, execute it under the right view, answer signals, report."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from orchestrator.cli.console import is_terminal, out, out_json, say, say_failures
from orchestrator.cli.options import StreamOutput
from orchestrator.errors import ExitCode
from orchestrator.events import DatabaseFailed, Event, Sink
from orchestrator.plan import Plan

if TYPE_CHECKING:
    from orchestrator.run import Run


class Broadcast:
    """Hands every event to all views; they are added once the plan is known."""

    def __init__(self) -> None:
        self.sinks: list[Sink] = []

    def __call__(self, event: Event) -> None:
        """Take one event."""
        for sink in tuple(self.sinks):
            try:
                sink(event)
            except OSError:  # whoever read it went away; the run goes on
                with suppress(ValueError):  # another thread found out too
                    self.sinks.remove(sink)


@contextmanager
def planning(broadcast: Broadcast, output: StreamOutput) -> Iterator[None]:
    """Tell a person what happens before there is a plan: that a server is waited for."""
    from orchestrator.views.plain import PlainView

    view = PlainView(say)
    if output is not StreamOutput.jsonl:
        broadcast.sinks.append(view)
    yield
    if view in broadcast.sinks:
        broadcast.sinks.remove(view)


def execute(run: Run, plan: Plan, broadcast: Broadcast, output: StreamOutput) -> int:
    """Execute a plan and show it; return the exit code."""
    from orchestrator.executor import Executor
    from orchestrator.views.document import DocumentView
    from orchestrator.views.text import OutcomeTable

    outcome, document, failed = OutcomeTable(), DocumentView(), list[DatabaseFailed]()
    broadcast.sinks += [outcome, document]
    broadcast.sinks.append(lambda event: failed.append(event) if isinstance(event, DatabaseFailed) else None)
    executor = Executor(run, plan)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        executor.stop()

    with ExitStack() as stack:
        if output is not StreamOutput.jsonl:
            if is_terminal(sys.stderr):
                from rich.console import Console

                from orchestrator.views.live import LiveView

                broadcast.sinks.append(stack.enter_context(LiveView(Console(stderr=True))))
            else:
                from orchestrator.views.plain import PlainView

                broadcast.sinks.append(PlainView(say))
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, stop))
        finished = executor.execute()
    written = write_reports(plan)
    if output is StreamOutput.json:
        out_json(document.document())
    elif output is StreamOutput.text and (text := outcome.text(plan)):
        out(text)
    say_failures((event.database, event.failure) for event in failed)
    say(summary(finished.succeeded, finished.failed, finished.blocked, finished.skipped, finished.seconds))
    return finished.exit_code or (int(ExitCode.DONE) if written else int(ExitCode.FAILED))


def write_reports(plan: Plan | None) -> bool:
    """Write the reports that were asked for: the run is over. Returns whether all could be written."""
    reports = sys.modules.get("orchestrator.cli.machine")
    return reports is None or reports.finish(plan)


def summary(
    done: tuple[str, ...], failed: tuple[str, ...], blocked: tuple[str, ...], skipped: tuple[str, ...], seconds: float
) -> str:
    """Return one sentence on a run."""
    parts = [f"{len(done)} database(s) done"]
    parts += [
        f"{len(ids)} {what}" for what, ids in (("failed", failed), ("blocked", blocked), ("not done", skipped)) if ids
    ]
    return f"{', '.join(parts)} in {seconds:.1f} s."


def when_machines_read(output: StreamOutput, broadcast: Broadcast, junit: str | None, file: str | None) -> None:
    """Begin what machines read, if it is asked for: the event stream on stdout, and reports in files."""
    if output in (StreamOutput.text, StreamOutput.json) and not junit:
        return
    from orchestrator.cli import machine

    if reports := machine.begin(output, junit, file):
        broadcast.sinks.append(reports)
