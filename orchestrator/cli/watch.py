"""What watches a whole run beside its views: how long its stages took, and traces and metrics for other systems.

Nothing of it can fail a run, and what is not asked for is not imported.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from orchestrator.errors import OrchError
from orchestrator.events import DatabaseBlocked, DatabaseFailed, DatabaseFinished, Event, Failure

if TYPE_CHECKING:
    from orchestrator.cli.stage import Broadcast
    from orchestrator.execution.timings import Timings
    from orchestrator.operations.plan import Planned
    from orchestrator.operations.scope import Scope


class Watcher(Protocol):
    """Receives the events of a run, its plan and its exit code. `title` is its name in warnings."""

    title: str

    def __call__(self, event: Event) -> None:
        """Take one event."""

    def plan_is_made(self, planned: Planned) -> None:
        """Learn what will be executed."""

    def end(self, code: int) -> None:
        """Finish: the run has ended with this exit code."""


class Watch:
    """All that watches one run. As a context it ends with the run, also where that is an error."""

    def __init__(self, broadcast: Broadcast, watchers: list[Watcher]) -> None:
        self._watchers = watchers
        self._code = 1
        broadcast.sinks += watchers

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code = int(getattr(error, "exit_code", 130 if isinstance(error, KeyboardInterrupt) else self._code))
        for watcher in self._watchers:
            self._quietly(watcher, "end", code)

    def plan_is_made(self, planned: Planned) -> None:
        """Tell all what will be executed."""
        for watcher in tuple(self._watchers):
            self._quietly(watcher, "plan_is_made", planned)

    def ended(self, code: int) -> int:
        """Take note of the exit code, and return it."""
        self._code = code
        return code

    def _quietly(self, watcher: Watcher, verb: str, about: object) -> None:
        try:
            getattr(watcher, verb)(about)
        except Exception as error:  # noqa: BLE001 - whatever watches a run can never fail it
            from orchestrator.cli.console import say

            why = error.what if isinstance(error, OrchError) else f"it failed ({type(error).__name__})"
            say(f"warning: {watcher.title}: {why} (the run itself is not affected)")
            self._watchers.remove(watcher)


class ShownTimings:
    """Shows at the end, on stderr, where the time went."""

    title = "the table of --timings"

    def __init__(self, timings: Timings) -> None:
        from orchestrator.execution.timings import age_of_process
        from orchestrator.views.timings import TimingsView

        self._timings = timings
        self._age = age_of_process
        self._view = TimingsView(age_of_process())

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self._view(event)

    def plan_is_made(self, planned: Planned) -> None:
        """Do nothing: its stages are measured where they are."""

    def end(self, code: int) -> None:  # noqa: ARG002 - of a run that failed the time is told, too
        """Show the table."""
        from orchestrator.cli.console import say

        say("\n" + self._view.text(self._timings.stages, self._age()))


class Notifier:
    """Tells the webhooks of the manifest how a run ended. A run that was refused before its plan has none."""

    title = "the webhooks of 'notify'"

    def __init__(self, command: str) -> None:
        self._command = command
        self._planned: Planned | None = None
        self._failures: dict[str, Failure] = {}
        self._done: set[str] = set()
        self._blocked: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, DatabaseFailed):
            self._failures[event.database] = event.failure
        elif isinstance(event, DatabaseFinished):
            self._done.add(event.database)
        elif isinstance(event, DatabaseBlocked):
            self._blocked.add(event.database)

    def plan_is_made(self, planned: Planned) -> None:
        """Learn of the webhooks, and of what cannot be planned."""
        self._planned = planned
        self._failures.update(planned.failures)

    def end(self, code: int) -> None:
        """Send what the webhooks want to be told, if anything."""
        if self._planned is None or not self._planned.run.hooks:
            return
        from orchestrator.cli.console import say
        from orchestrator.operations.notify import send
        from orchestrator.views.notice import Told, body

        run = self._planned.run
        told = Told(self._command, run.run_id, run.actor, code, len(self._done), len(self._blocked), self._failures)
        messages = []
        for hook, url in run.hooks:
            text = body(told, hook.events, hook.format)
            if text is not None and url is None:
                say(f"warning: nobody was notified: {hook.variable} is not set to a URL")
            elif text is not None and url is not None:
                messages.append((hook.variable, url, text))
        for wrong in send(messages):
            say(f"warning: a webhook was not notified: {wrong}")


def watch_for(broadcast: Broadcast, scope: Scope, *, timings: bool = False, prometheus: str | None = None) -> Watch:
    """Return what watches a run, as options and environment ask for it."""
    watchers: list[Watcher] = [ShownTimings(scope.timings)] if timings else []
    command = sys.argv[1] if len(sys.argv) > 1 else "apply"
    watchers.append(Notifier(command))
    if prometheus:
        from orchestrator.views.prometheus import PrometheusFile

        watchers.append(PrometheusFile(prometheus, time.time()))
    if _traces_are_on(os.environ):
        from orchestrator.cli.console import say

        try:
            from orchestrator.views.otel import Telemetry

            watchers.append(Telemetry(command, os.environ))
        except ModuleNotFoundError as error:
            say(f"warning: OTEL_* is set, and {error.name} is not installed; pip install 'dborch[otel]'")
        except Exception as error:  # noqa: BLE001 - of the SDK; its text may hold what a variable holds
            say(f"warning: no telemetry is sent: a variable OTEL_* has a wrong value ({type(error).__name__})")
    return Watch(broadcast, watchers)


def _traces_are_on(env: Mapping[str, str]) -> bool:
    """Whether the environment asks for OpenTelemetry, as its specification has it: an endpoint or an exporter is set."""
    if env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    named = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
    chosen = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER")
    return any(env.get(name) for name in named) or any(env.get(name, "none") not in ("", "none") for name in chosen)
