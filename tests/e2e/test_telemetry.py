"""What a run tells of itself beside its views: OpenTelemetry, against an endpoint that decodes it, webhooks, --timings."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import select
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from estate import Estate
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """An OTLP endpoint that keeps what it is sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.bodies: list[tuple[str, bytes]] = []
        self.delay = 0.0

    @property
    def env(self) -> dict[str, str]:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.server_port}"}

    def spans(self) -> list[Any]:
        requests = [ExportTraceServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/traces"]
        return [
            span
            for one in requests
            for part in one.resource_spans
            for scope in part.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, Any]:
        requests = [ExportMetricsServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/metrics"]
        return {
            metric.name: metric
            for one in requests
            for part in one.resource_metrics
            for scope in part.scope_metrics
            for metric in scope.metrics
        }


class _Taker(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        self.server.bodies.append((self.path, body))
        time.sleep(self.server.delay)
        self.send_response(302 if self.path == "/away" else 200)
        if self.path == "/away":
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def facts(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def three(estate: Estate) -> Estate:
    """Write databases of which one fails, and one depends on that."""
    estate.manifest(
        "  - {name: good, server: postgres}\n  - {name: bad, server: postgres}\n"
        "  - {name: above, server: postgres, depends_on: [bad]}\n"
    )
    for name in ("good", "above"):
        estate.write(f"postgres-{name}", {"000001_a.up.sql": "CREATE TABLE a (id int);", "000001_a.down.sql": ""})
    estate.write("postgres-good", {"000002_b.up.sql": "CREATE TABLE b (id int);", "000002_b.down.sql": ""})
    estate.write("postgres-bad", {"000001_a.up.sql": "CREATE TABLE a (id nothing);", "000001_a.down.sql": ""})
    return estate


def test_a_run_is_a_trace_with_metrics(pg_estate: Estate, collector: Collector) -> None:
    three(pg_estate)
    env = {**collector.env, "TRACEPARENT": f"00-{TRACE}-{PARENT}-01", "OTEL_SERVICE_NAME": "shop-migrations"}
    result = pg_estate.orch("apply", "--timings", "--prometheus", "orch.prom", env=env, code=1)

    spans = collector.spans()
    assert {span.trace_id.hex() for span in spans} == {TRACE}, "the pipeline's own trace"
    (run,) = [span for span in spans if span.name == "migrate.run"]
    assert run.parent_span_id.hex() == PARENT
    assert facts(run)["process.exit.code"] == 1
    assert run.status.code == Status.STATUS_CODE_ERROR
    databases = {facts(span)["migrate.database"]: span for span in spans if span.name == "migrate.database"}
    assert set(databases) == {"postgres-good", "postgres-bad"}, "what is blocked was not begun"
    assert {span.parent_span_id for span in databases.values()} == {run.span_id}
    good = facts(databases["postgres-good"])
    assert good["db.system.name"] == "postgresql"
    assert good["db.namespace"].endswith("_good"), "its name on the server"
    assert facts(databases["postgres-bad"])["error.type"] == "42704"
    migrations = [span for span in spans if span.name == "migrate.migration"]
    told = {(facts(span)["migrate.database"], facts(span)["migrate.version"]): facts(span) for span in migrations}
    assert set(told) == {("postgres-good", 1), ("postgres-good", 2), ("postgres-bad", 1)}
    assert {facts["migrate.direction"] for facts in told.values()} == {"up"}
    assert told["postgres-bad", 1]["error.type"] == "42704"
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano > 0 for span in spans)

    metrics = collector.metrics()
    assert [point.as_int for point in metrics["migrate.migrations.applied"].sum.data_points] == [2]
    assert [point.as_int for point in metrics["migrate.migrations.failed"].sum.data_points] == [1]
    (durations,) = metrics["migrate.migration.run.duration"].histogram.data_points
    assert durations.count == 2
    sent = b"".join(body for _, body in collector.bodies)
    assert b"shop-migrations" in sent
    assert pg_estate.servers["postgres"].password.encode() not in sent

    metrics_file = (pg_estate.root / "orch.prom").read_text()
    assert "\norch_run_exit_code 1\n" in metrics_file
    assert "\norch_run_migrations_applied 2\n" in metrics_file
    assert '\norch_database_version{database="postgres-good",engine="postgres"} 2\n' in metrics_file
    assert '\norch_database_pending{database="postgres-above",engine="postgres"} 1\n' in metrics_file
    assert [line for line in metrics_file.splitlines() if line.startswith("orch_database_failed")] == [
        'orch_database_failed{database="postgres-good",engine="postgres"} 0',
        'orch_database_failed{database="postgres-bad",engine="postgres"} 1',
        'orch_database_failed{database="postgres-above",engine="postgres"} 1',
    ]
    assert "its directory does not exist" in pg_estate.orch("apply", "--prometheus", "none/orch.prom", code=2).stderr

    for stage in ("start-up", "manifest", "catalog", "survey", "lock", "execution", "whole process"):
        assert stage in result.stderr
    assert "postgres-good: 2 b (up)" in result.stderr
    assert "start-up" not in result.stdout


def test_nothing_to_do_is_a_trace_too(pg_estate: Estate, collector: Collector) -> None:
    three(pg_estate)
    pg_estate.orch("apply", "--only", "good")
    assert not collector.bodies, "without OTEL_* nothing is sent"
    pg_estate.orch("apply", "--only", "good", env=collector.env)
    assert [span.name for span in collector.spans()] == ["migrate.run"]
    off = {**collector.env, "OTEL_SDK_DISABLED": "true"}
    collector.bodies.clear()
    pg_estate.orch("apply", "--only", "good", env=off)
    assert not collector.bodies


def test_a_rollout_that_is_paused_is_no_failure(pg_estate: Estate, collector: Collector) -> None:
    """The exit code tells of the pause, and no span and no metric tells of an error."""
    estate = pg_estate
    estate.write("t", {"000001_a.up.sql": "CREATE TABLE a (id int);", "000001_a.down.sql": "DROP TABLE a;"})
    estate.manifest(
        '  - {name: "t_{n}", server: postgres, migrations: migrations/t/schema, for_each: {range: 1..3}, '
        "rollout: {canary: [1], then: 2, pause: until resumed}}\n"
    )
    estate.orch("apply", env=collector.env, code=8)
    spans = collector.spans()
    assert {span.name for span in spans} == {"migrate.run", "migrate.database", "migrate.migration"}
    assert [span.name for span in spans if span.status.code == Status.STATUS_CODE_ERROR] == []
    (run,) = [span for span in spans if span.name == "migrate.run"]
    assert facts(run)["process.exit.code"] == 8
    assert {facts(span)["migrate.database"] for span in spans if span.name == "migrate.database"} == {"postgres-t_1"}
    assert "migrate.migrations.failed" not in collector.metrics()


@pytest.mark.parametrize("variable", ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_BSP_MAX_QUEUE_SIZE"])
def test_a_variable_with_a_wrong_value_stops_nobody(tmp_path: Path, variable: str) -> None:
    """The SDK reads one when it is imported, and the other when it is set up."""
    estate = Estate(tmp_path, {})
    estate.write("a", {"000001_a.up.sql": "CREATE TABLE a (id int);", "000001_a.down.sql": ""})
    (tmp_path / "databases.yaml").write_text(
        "version: 1\ndatabases:\n  - {name: a, engine: sqlite, dsn: 'sqlite3://a.db', migrations: migrations/a/schema}\n"
    )
    done = estate.orch("apply", env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", variable: "-1"})
    assert "warning: no telemetry is sent: a variable OTEL_* has a wrong value (ValueError)" in done.stderr
    assert "1 database done" in done.stderr


def test_a_collector_that_is_gone_or_slow_stops_nobody(pg_estate: Estate, collector: Collector) -> None:
    three(pg_estate)
    secret = "http://user:hidden-secret@127.0.0.1:1"
    result = pg_estate.orch("apply", "--only", "good", env={"OTEL_EXPORTER_OTLP_ENDPOINT": secret})
    assert "warning: OpenTelemetry: the collector did not take what was sent to it" in result.stderr
    assert "hidden-secret" not in result.text
    collector.delay = 60
    began = time.monotonic()
    result = pg_estate.orch("apply", "--only", "good", env=collector.env)
    assert time.monotonic() - began < 30, "the end of a run waits for 5 seconds"
    assert "the collector did not take what was sent to it" in result.stderr


def notified(estate: Estate, *hooks: str) -> None:
    path = estate.root / "databases.yaml"
    path.write_text(path.read_text() + "notify:\n" + "".join(f"  - {hook}\n" for hook in hooks))


def test_webhooks_are_told_of_failures_and_ends(pg_estate: Estate, collector: Collector) -> None:
    three(pg_estate)
    url = f"http://127.0.0.1:{collector.server_port}"
    env = {
        "HOOK": f"{url}/plain/secret-token",
        "SLACK": f"{url}/slack/secret-token",
        "GONE": "http://127.0.0.1:1/gone-token",
    }
    notified(
        pg_estate,
        "{variable: HOOK, events: [failed, finished]}",
        "{variable: SLACK, format: slack}",
        "{variable: GONE}",
        "{variable: UNSET}",
    )
    result = pg_estate.orch("apply", env=env, code=1)
    sent = {path: json.loads(body) for path, body in collector.bodies}
    plain = sent["/plain/secret-token"]
    assert (plain["event"], plain["command"], plain["exit_code"]) == ("failed", "apply", 1)
    assert (plain["done"], plain["failed"], plain["blocked"]) == (1, 1, 1)
    assert plain["failures"] == [
        {"database": "postgres-bad", "kind": "statement", "what": plain["failures"][0]["what"]}
    ]
    assert sent["/slack/secret-token"]["text"].startswith(
        "*orch apply failed*: 1 done, 1 failed, 1 blocked (postgres-bad)\n• "
    )
    assert "warning: a webhook was not notified: GONE: " in result.stderr
    assert "warning: nobody was notified: UNSET is not set to a URL" in result.stderr
    assert "token" not in result.text, "the URL of a webhook is a secret"

    collector.bodies.clear()
    pg_estate.write("postgres-bad", {"000001_a.up.sql": "CREATE TABLE a (id int);"})
    result = pg_estate.orch("apply", env=env)
    assert [(path, json.loads(body)["event"]) for path, body in collector.bodies] == [
        ("/plain/secret-token", "finished")
    ]
    collector.bodies.clear()
    pg_estate.orch("apply", env=env)
    assert not collector.bodies, "nothing to do is not told"


def test_rollback_and_redo_are_watched_as_apply_is(pg_estate: Estate, collector: Collector) -> None:
    three(pg_estate)
    pg_estate.write("postgres-good", {"000002_b.down.sql": "DROP TABLE b;"})
    pg_estate.orch("apply", "--only", "good")
    notified(pg_estate, "{variable: HOOK, events: [failed, finished]}")
    env = {"HOOK": f"http://127.0.0.1:{collector.server_port}/hook"}
    pg_estate.orch(
        "redo", "good", "--yes", "--ignore-dependents", "--prometheus", "orch.prom", env={**env, **collector.env}
    )
    spans = collector.spans()
    assert sum(span.name == "migrate.run" for span in spans) == 2, "down is a run, and up is one"
    directions = [facts(span)["migrate.direction"] for span in spans if span.name == "migrate.migration"]
    assert sorted(directions) == ["down", "up"]
    hooks = [json.loads(body) for path, body in collector.bodies if path == "/hook"]
    assert [(hook["event"], hook["command"], hook["done"]) for hook in hooks] == [("finished", "redo", 1)] * 2
    collector.bodies.clear()
    pg_estate.orch(
        "rollback", "good", "--steps", "1", "--yes", "--ignore-dependents", "--prometheus", "orch.prom", env=env
    )
    assert [json.loads(body)["command"] for _, body in collector.bodies] == ["rollback"]
    told = (pg_estate.root / "orch.prom").read_text()
    assert '\norch_database_version{database="postgres-good",engine="postgres"} 1\n' in told
    collector.bodies.clear()
    manifest = pg_estate.root / "databases.yaml"
    source = "server: postgres, migrations: migrations/postgres-good/schema, for_each: {values: [a, b]}"
    fleet = f'  - {{name: "m_{{x}}", {source}, rollout: {{canary: [a], pause: until resumed}}}}\n'
    manifest.write_text(manifest.read_text().replace("databases:\n", f"databases:\n{fleet}"))
    pg_estate.orch("apply", "--only", "m_*", env=env, code=8)
    assert [json.loads(body)["event"] for _, body in collector.bodies] == ["finished"], "a pause is no failure"
    pg_estate.orch("rollout", "resume", "--prometheus", "orch.prom", env=env, code=1)
    last = json.loads(collector.bodies[-1][1])
    assert (last["command"], last["event"]) == ("rollout", "failed")
    told = (pg_estate.root / "orch.prom").read_text()
    assert '\norch_database_version{database="postgres-m_b",engine="postgres"} 2\n' in told


def test_a_webhook_that_does_not_answer_or_leads_elsewhere_stops_nobody(
    pg_estate: Estate, collector: Collector
) -> None:
    three(pg_estate)
    notified(pg_estate, "{variable: HOOK, events: [finished]}")
    env = {"HOOK": f"http://ann:s3cr%40t@127.0.0.1:{collector.server_port}/away"}  # a login is no part of the address
    result = pg_estate.orch("apply", "--only", "good", env=env)
    assert "a webhook was not notified: HOOK: it answered 302" in result.stderr
    assert [path for path, _ in collector.bodies] == ["/away"], "a redirect is not followed"
    collector.delay = 60
    began = time.monotonic()
    result = pg_estate.orch("apply", "--only", "above", env={"HOOK": f"{env['HOOK'][:-4]}slow"}, code=1)
    assert time.monotonic() - began < 30
    assert result.code == 1
    for wrong in ("{url: x}", "{variable: HOOK, events: [always]}", "{variable: HOOK, format: teams}"):
        before = (pg_estate.root / "databases.yaml").read_text()
        (pg_estate.root / "databases.yaml").write_text(before.replace("{variable: HOOK, events: [finished]}", wrong))
        assert "databases.yaml:" in pg_estate.orch("validate", code=4).stderr
        (pg_estate.root / "databases.yaml").write_text(before)


def test_metrics_that_are_longer_than_a_pipe_arrive_whole(tmp_path: Path) -> None:
    estate = Estate(tmp_path, {})
    estate.write("t", {"000001_a.up.sql": "SELECT 1;"})
    entry = "name: 'a{n}', for_each: {range: 1..40}, engine: sqlite, dsn: 'sqlite3://{database}.db'"
    (tmp_path / "databases.yaml").write_text(
        f"version: 1\ndatabases:\n  - {{{entry}, migrations: migrations/t/schema}}\n"
    )
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    run = estate.start("apply", "--prometheus", "pipe")
    text = b""
    while run.poll() is None or select.select([reader], [], [], 0)[0]:
        try:
            text += (data := os.read(reader, 100_000))
        except BlockingIOError:
            data = b""
        if not data and run.poll() is not None:
            break
        time.sleep(0.05)
    os.close(reader)
    assert run.wait() == 0, run.communicate()
    assert text.count(b"orch_database_failed{") == 40


def test_metrics_go_into_a_pipe_and_through_a_link_and_replace_neither(tmp_path: Path) -> None:
    """As root, an ordinary rename would have replaced /dev/null for all programs."""
    estate = Estate(tmp_path, {})
    estate.write("t", {"000001_a.up.sql": "SELECT 1;", "000001_a.down.sql": "SELECT 1;"})
    entry = '  - {name: a, engine: sqlite, dsn: "sqlite3://{database}.db", migrations: migrations/t/schema}\n'
    (tmp_path / "databases.yaml").write_text(f"version: 1\ndatabases:\n{entry}")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.prom").symlink_to("real.prom")
    told = estate.orch("apply", "--prometheus", "pipe")  # nobody reads there: nobody waits for that
    assert "pipe cannot be written: No such device or address" in told.stderr
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        estate.orch("apply", "--prometheus", "pipe")
        assert b"orch_run_exit_code 0" in os.read(reader, 100_000)
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    estate.orch("apply", "--prometheus", "link.prom")
    assert (tmp_path / "link.prom").is_symlink()
    assert "orch_run_exit_code 0" in (tmp_path / "real.prom").read_text()
    assert "it is a directory" in estate.orch("apply", "--prometheus", "migrations", code=2).stderr
