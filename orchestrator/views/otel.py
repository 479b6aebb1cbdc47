"""A run as OpenTelemetry traces and metrics, sent by OTLP over HTTP. Needs the extra `otel`.

Spans: `migrate.run`, below it `migrate.database` for each database with work, below that `migrate.migration`. The
environment says where to (OTEL_EXPORTER_OTLP_ENDPOINT and the others of the specification); TRACEPARENT, if it is set, is
the parent of the run. Everything is sent before the process ends, within `PATIENCE` seconds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from orchestrator import __version__
from orchestrator.engines import dialect
from orchestrator.errors import ExitCode, OrchError
from orchestrator.events import (
    DatabaseFailed,
    DatabaseFinished,
    DatabaseSkipped,
    DatabaseStarted,
    Event,
    Failure,
    StepFinished,
    StepRetrying,
    StepStarted,
)

if TYPE_CHECKING:
    from orchestrator.operations.plan import Planned

PATIENCE = 5.0  # seconds that the end of a run may wait for a collector
_NEVER = 86_400_000.0  # milliseconds: metrics are sent once, at the end
_LONGEST = 500  # characters of an error

Attributes = dict[str, str | int]


class Telemetry:
    """Folds the events of one run into spans and metrics. Its events come from several threads."""

    title = "OpenTelemetry"

    def __init__(self, command: str, env: Mapping[str, str]) -> None:
        logging.getLogger("opentelemetry").propagate = False  # it would tell of an endpoint, which may hold a secret
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        self._mutex = threading.RLock()
        self._lost = False
        self._about: dict[str, Attributes] = {}
        self._databases: dict[str, Span] = {}
        self._steps: dict[str, tuple[Span, Attributes]] = {}
        resource = Resource.create(
            {"service.name": env.get("OTEL_SERVICE_NAME") or "orch", "service.version": __version__}
        )
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        readers = []
        if env.get("OTEL_TRACES_EXPORTER") != "none":
            self._traces.add_span_processor(BatchSpanProcessor(_Spans(self._note)))
        if env.get("OTEL_METRICS_EXPORTER") != "none":
            readers.append(PeriodicExportingMetricReader(_Metrics(self._note), export_interval_millis=_NEVER))
        self._metrics = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        self._tracer = self._traces.get_tracer("dborch", __version__)
        meter = self._metrics.get_meter("dborch", __version__)
        self._applied = meter.create_counter(
            "migrate.migrations.applied", "{migration}", "Migrations that ran to their end."
        )
        self._failed = meter.create_counter("migrate.migrations.failed", "{migration}", "Migrations that failed.")
        self._duration = meter.create_histogram("migrate.migration.run.duration", "s", "How long a migration ran.")
        above = {name: env[name.upper()] for name in ("traceparent", "tracestate") if env.get(name.upper())}
        parent = TraceContextTextMapPropagator().extract(above)
        self._run = self._tracer.start_span("migrate.run", parent, attributes={"migrate.command": command})

    def plan_is_made(self, planned: Planned) -> None:
        """Learn where the databases are, and how much is to be done."""
        run = planned.run
        self._run.set_attribute("migrate.run.id", run.run_id)
        self._run.set_attribute("migrate.databases", len(run.targets))
        self._run.set_attribute("migrate.migrations", sum(len(one.steps) for one in planned.plan.databases))
        for id, target in run.targets.items():
            self._about[id] = {
                "migrate.database": id,
                "db.system.name": dialect(target.engine).title.lower(),
                "db.namespace": target.database,
                "server.address": target.endpoint,
            }
        for id, failure in planned.failures:
            self._run.add_event("migrate.refused", {"migrate.database": id, "error.type": _type(failure)})

    def __call__(self, event: Event) -> None:
        """Take one event."""
        with self._mutex:
            match event:
                case DatabaseStarted():
                    above = set_span_in_context(self._run)
                    self._databases[event.database] = self._tracer.start_span(
                        "migrate.database", above, attributes=self._about.get(event.database)
                    )
                case StepStarted():
                    self._begin(event)
                case StepRetrying():
                    if event.database in self._steps:
                        self._steps[event.database][0].add_event("migrate.retry", {"migrate.reason": event.reason})
                case StepFinished():
                    self._end_step(event.database, None, event.seconds)
                case DatabaseFinished() | DatabaseSkipped():
                    self._end_database(event.database, None)
                case DatabaseFailed():
                    self._end_database(event.database, event.failure)

    def end(self, code: int) -> None:
        """End the run and send what is left; OrchError if the collector did not take it."""
        with self._mutex:
            for id in tuple(self._databases):
                self._end_database(id, None)
            self._run.set_attribute("process.exit.code", code)
            if code not in (ExitCode.DONE, ExitCode.NOT_YET):  # a rollout that is paused is no error
                self._run.set_status(Status(StatusCode.ERROR))
            self._run.end()
        sending = threading.Thread(target=self._send, daemon=True)
        sending.start()
        sending.join(PATIENCE)
        if sending.is_alive() or self._lost:
            raise OrchError(
                "the collector did not take what was sent to it; look at OTEL_EXPORTER_OTLP_ENDPOINT: "
                "orch sends OTLP over HTTP, for which collectors listen on port 4318"
            )

    def _begin(self, event: StepStarted) -> None:
        above = self._databases.get(event.database, self._run)
        about: Attributes = {
            **self._about.get(event.database, {}),
            "migrate.version": event.version,
            "migrate.name": event.name,
            "migrate.direction": event.direction.value,
        }
        span = self._tracer.start_span("migrate.migration", set_span_in_context(above), attributes=about)
        self._steps[event.database] = span, about

    def _end_step(self, id: str, failure: Failure | None, seconds: float | None = None) -> None:
        if id not in self._steps:
            return
        span, about = self._steps.pop(id)
        counted: Attributes = {name: about[name] for name in ("db.system.name", "migrate.direction") if name in about}
        if failure is not None:
            _mark(span, failure)
            self._failed.add(1, {**counted, "error.type": _type(failure)})
        elif seconds is not None:
            self._applied.add(1, counted)
            self._duration.record(seconds, counted)
        span.end()

    def _end_database(self, id: str, failure: Failure | None) -> None:
        self._end_step(id, failure)
        span = self._databases.pop(id, None)
        if span is None and failure is not None:
            span = self._tracer.start_span(
                "migrate.database", set_span_in_context(self._run), attributes=self._about.get(id)
            )
        if span is not None:
            if failure is not None:
                _mark(span, failure)
            span.end()

    def _note(self, *, sent: bool) -> None:
        self._lost = self._lost or not sent

    def _send(self) -> None:
        with suppress(Exception):
            self._traces.shutdown()
        with suppress(Exception):
            self._metrics.shutdown()


class _Spans(OTLPSpanExporter):
    def __init__(self, note: Any) -> None:
        super().__init__()
        self._note = note

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = super().export(spans)
        finally:  # a malformed endpoint or a certificate that is not there is an exception
            self._note(sent=result is SpanExportResult.SUCCESS)
        return result


class _Metrics(OTLPMetricExporter):
    def __init__(self, note: Any) -> None:
        super().__init__()
        self._note = note

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        result = MetricExportResult.FAILURE
        try:
            result = super().export(metrics_data, timeout_millis, **kwargs)
        finally:
            self._note(sent=result is MetricExportResult.SUCCESS)
        return result


def _type(failure: Failure) -> str:
    return failure.code or failure.kind


def _mark(span: Span, failure: Failure) -> None:
    span.set_attribute("error.type", _type(failure))
    span.set_status(Status(StatusCode.ERROR, failure.what[:_LONGEST]))
