"""Shared by `apply` and `rollback`: execute a plan under the right view, handle signals, write reports."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from orchestrator.cli.console import (
    is_painted,
    is_quiet,
    is_terminal,
    out,
    out_json,
    pasteable,
    readable,
    say,
    say_failures,
    warn,
)
from orchestrator.cli.options import StreamOutput
from orchestrator.errors import ExitCode
from orchestrator.events import DatabaseFailed, Event, LockWaiting, RunFinished, ServerWaiting, Sink, Stopping
from orchestrator.hints import Command, Hint
from orchestrator.model import Direction
from orchestrator.planning.plan import Plan

if TYPE_CHECKING:
    from orchestrator.operations.plan import Planned
    from orchestrator.operations.recording import Recording


class Broadcast:
    """Hands every event to all views; they are added once the plan is known."""

    def __init__(self) -> None:
        self.sinks: list[Sink] = []

    def __call__(self, event: Event) -> None:
        """Take one event."""
        for sink in tuple(self.sinks):
            try:
                sink(event)
            except Exception as error:  # noqa: BLE001 - a view can never fail a run
                with suppress(ValueError):  # another thread found out too
                    self.sinks.remove(sink)
                    if not isinstance(error, OSError):  # whoever read it did not just go away
                        warn(f"warning: {type(sink).__name__} failed and shows nothing more: {_told(error)}")


def _told(error: Exception) -> str:
    from orchestrator.manifest.redact import redactor

    return redactor(f"{type(error).__name__}: {error}")


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


def carry_out(
    planned: Planned, broadcast: Broadcast, output: StreamOutput, *, yes: bool, verbose: bool, junit: str | None
) -> int:
    """Show a plan, ask before something is lost, and execute it; return the exit code."""
    plan = planned.plan
    if output is StreamOutput.text and not junit and not plan.has_changes and not plan.failures:
        if any(one.notes for one in plan.databases):
            from orchestrator.views.text import plan_text

            say(plan_text(plan, {}))
        from orchestrator.views.table import counted

        say(f"Nothing to do: {counted(len(plan.databases), 'database')} up to date.")
        return not_yet(planned)
    from orchestrator.cli.consent import ask
    from orchestrator.operations.risk_policy import refuse
    from orchestrator.views.text import plan_text

    if output not in (StreamOutput.json, StreamOutput.jsonl):
        say(plan_text(plan, planned.risks))
        say("")
    refuse(planned)
    ask(planned, yes=yes)
    code = execute(planned, broadcast, output, verbose=verbose)
    return code if code not in (ExitCode.DONE, ExitCode.NOT_YET) else not_yet(planned) or code


def execute(planned: Planned, broadcast: Broadcast, output: StreamOutput, *, verbose: bool = False) -> int:
    """Execute a plan and show it; return the exit code. `verbose`: with the NOTICEs of the servers."""
    from orchestrator.views.document import DocumentView
    from orchestrator.views.text import OutcomeTable

    outcome, document, failed = OutcomeTable(), DocumentView(), list[DatabaseFailed]()
    broadcast.sinks += [outcome, document]
    broadcast.sinks.append(lambda event: failed.append(event) if isinstance(event, DatabaseFailed) else None)
    plan = planned.plan
    executor = planned.executor()

    with stopped_by_signals(executor.stop):  # also while the end is told: it must be whole
        with ExitStack() as stack:
            if output is not StreamOutput.jsonl:
                stack.enter_context(shown_to_people(broadcast, verbose=verbose, told=_told_already(plan)))
            finished = executor.execute()
        broadcast.sinks.clear()
        written = write_reports(plan)
        if output is StreamOutput.json:
            out_json(document.document())
        elif output is not StreamOutput.jsonl and (text := outcome.text(plan)):
            (out if output is StreamOutput.text else say)(text)
        say_failures((event.database, event.failure) for event in failed)
        changing = {one.id for one in plan.databases if one.has_changes}
        say(summary(finished, changing))
        fleets = any((one := planned.run.databases.get(id)) and one.fleet for id in finished.failed)
        if plan.direction is Direction.UP and fleets and not planned.rollouts and changing & {*finished.succeeded}:
            say(pasteable(Hint("When the cause is corrected: ", Command("apply", "--failed"))))
    return ended(finished.exit_code, written)


def shown(planned: Planned, broadcast: Broadcast, output: StreamOutput, nothing: str) -> int | None:
    """Show a plan down before it is confirmed. Return an exit code, and say `nothing`, if there is nothing to confirm."""
    from orchestrator.views.text import plan_text

    if not planned.failures:
        say(plan_text(planned.plan, planned.risks))
        if planned.plan.has_changes:
            return None
        say(nothing)
        if output is StreamOutput.text:
            return int(ExitCode.DONE)
    return execute(planned, broadcast, output)


def not_yet(planned: Planned) -> int:
    """Return exit code 8, with the command to run next, if there are databases that could not be planned yet; else 0."""
    if not planned.later:
        return int(ExitCode.DONE)
    say(pasteable(Hint("Members that were not known are still to be migrated; next: ", Command("apply"))))
    return int(ExitCode.NOT_YET)


def ended(code: int, written: bool) -> int:
    """Return the exit code of a command: that of its result, or 1 if a report could not be written."""
    return code or int(ExitCode.DONE if written else ExitCode.FAILED)


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Have `stop` called by Ctrl-C and SIGTERM instead of ending the process, once for each signal.

    A handler may interrupt its own thread in the middle of writing a line, where Python refuses to write another one. So
    another thread calls `stop`.
    """
    turn, threads = threading.Lock(), list[threading.Thread]()

    def in_turn() -> None:
        with turn:
            stop()

    def called(_signal: int, _frame: FrameType | None) -> None:
        threads.append(threading.Thread(target=in_turn, name="orch-stop"))
        threads[-1].start()

    try:
        with ExitStack() as signals:
            for number in (signal.SIGINT, signal.SIGTERM):
                signals.callback(signal.signal, number, signal.signal(number, called))
            yield
    finally:
        for thread in threads:
            thread.join()


def waiting() -> Sink:
    """Return a view that tells a person only what is waited for, and that the run stops."""
    from orchestrator.views.plain import PlainView

    view = PlainView(say)
    return lambda event: view(event) if isinstance(event, (LockWaiting, ServerWaiting, Stopping)) else None


def record(recording: Recording, what: str, output: str, *, following: bool = True) -> int:
    """Write records and show what became of them, with the commands to run next if `following`; return the exit code.

    A signal stops it in order.
    """
    from orchestrator.cli.show import show

    with stopped_by_signals(recording.stop):
        recorded = recording.execute()
        if output == StreamOutput.json or recorded.recorded or recorded.unchanged:
            show(what, output, recorded, following)
        say_failures(recorded.failures.items())
        for id in recorded.finished.skipped:
            say(f"{id}: nothing was recorded: the run was stopped")
    return recorded.exit_code


def _told_already(plan: Plan) -> frozenset[str]:
    """Return the databases whose failures the plan has told already."""
    return frozenset(planned.id for planned in plan.databases if planned.failure)


@contextmanager
def shown_to_people(
    broadcast: Broadcast, *, verbose: bool = False, told: frozenset[str] = frozenset()
) -> Iterator[None]:
    """Show a run while it is at work: on a terminal as it stands now, else line by line.

    The failures of the databases in `told` are not told again.
    """
    if is_terminal(sys.stderr) and not is_quiet():
        from rich.console import Console

        from orchestrator.views.live import LiveView

        with LiveView(Console(stderr=True, no_color=not is_painted(sys.stderr)), readable, verbose=verbose) as live:
            broadcast.sinks.append(live)
            yield
        return
    from orchestrator.views.plain import PlainView

    with PlainView(say, verbose=verbose) as plain:
        broadcast.sinks.append(
            lambda event: None if isinstance(event, DatabaseFailed) and event.database in told else plain(event)
        )
        yield


def write_reports(plan: Plan | None) -> bool:
    """Write the reports that were asked for: the run is over. Returns whether all could be written."""
    reports = sys.modules.get("orchestrator.cli.machine")
    return reports is None or reports.finish(plan)


def summary(finished: RunFinished, changing: Container[str]) -> str:
    """Return one sentence on a run; a database without pending migrations is unchanged, not done."""
    from orchestrator.views.table import counted

    done = sum(id in changing for id in finished.succeeded)
    unchanged = len(finished.succeeded) - done
    parts = [f"{counted(done, 'database')} done"] if done else []
    counts = ((finished.failed, "failed"), (finished.blocked, "blocked"), (finished.skipped, "not done"))
    parts += [f"{len(ids)} {what}" for ids, what in counts if ids]
    if unchanged:
        parts.append(f"{unchanged} unchanged")
    return f"{', '.join(parts) or '0 databases done'} in {finished.seconds:.1f} s."


def when_machines_read(output: StreamOutput, broadcast: Broadcast, junit: str | None, file: str | None) -> None:
    """Begin what machines read, if it is asked for: the event stream on stdout, and reports in files."""
    if output in (StreamOutput.text, StreamOutput.json) and not junit:
        return
    from orchestrator.cli import machine

    if reports := machine.begin(output, junit, file):
        broadcast.sinks.append(reports)
