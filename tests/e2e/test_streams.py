"""What is on stdout and stderr when these are closed or full, when others' texts want to be obeyed, and when a signal comes."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from estate import ORCH, Estate, piped
from test_machine_output import finds_command, report, schema_of

ONE: dict[str, str | bytes] = {
    "000001_one.up.sql": "CREATE TABLE one (id int);",
    "000001_one.down.sql": "DROP TABLE one;",
}
TEN_SECONDS = 10


# ---------------------------------------------------------------- closed, full


def shell(estate: Estate, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of sh in which `orch` is the installed command."""
    done = subprocess.run(
        ["sh", "-c", f'orch() {{ "{ORCH}" "$@"; }}\n{line}'],
        cwd=estate.root,
        env=estate.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr and "fault in orch" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full", "2>/dev/full >&-"])
def test_a_closed_stream_stops_nothing(pg_estate: Estate, closed: str) -> None:
    pg_estate.add("postgres", "a", ONE)
    for command in ("status", "plan", "plan --output json -o plan.json", "apply --output jsonl", "validate"):
        assert shell(pg_estate, f"orch {command} {closed}").returncode == 0, command
    assert pg_estate.tables("a") == {"one"}
    assert shell(pg_estate, f"orch rollback a --steps 1 {closed}").returncode == 2, "nobody can be asked"
    assert shell(pg_estate, f"orch rollback a --steps 1 --yes {closed}").returncode == 0
    assert pg_estate.tables("a") == set()
    assert shell(pg_estate, f"orch apply --only nothing {closed}").returncode == 2
    assert shell(pg_estate, f"orch --version {closed}").returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        "apply",
        "apply --output json",
        "apply --output jsonl",
        "status",
        "status --output json",
        "plan --output markdown",
        "graph",
        "validate",
        "schema",
        "--version",
        "--help",
        "apply --help",
    ],
)
def test_a_full_stdout_is_told_and_the_work_is_done(pg_estate: Estate, command: str) -> None:
    pg_estate.add("postgres", "a", ONE)
    done = shell(pg_estate, f"orch {command} >/dev/full")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr.splitlines()[-1]
    if command.startswith("apply") and "help" not in command:
        assert pg_estate.tables("a") == {"one"}


def test_a_full_stdout_that_gets_nothing_loses_nothing(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    assert shell(pg_estate, "orch apply --output github >/dev/full").returncode == 0


@pytest.mark.parametrize("output", ["text", "json", "jsonl", "gitlab"])
def test_a_report_that_cannot_be_written_is_told_and_nothing_else_is_lost(pg_estate: Estate, output: str) -> None:
    pg_estate.add("postgres", "a", ONE)
    done = shell(pg_estate, f"orch apply --output {output} --junit /dev/full")
    assert done.returncode == 1
    assert "/dev/full cannot be written: No space left on device" in done.stderr
    assert "1 database done" in done.stderr
    assert pg_estate.tables("a") == {"one"}
    if output == "json":
        assert json.loads(done.stdout)["databases"][0]["result"] == "done"
    if output == "jsonl":
        assert json.loads(done.stdout.splitlines()[-1])["event"] == "RunFinished"


def test_the_reader_goes_away_and_the_work_is_done(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    done = shell(pg_estate, "{ orch apply --output jsonl --junit report.xml; echo $? >code; } | true")
    assert (pg_estate.root / "code").read_text() in ("141\n", "0\n"), done.stderr
    assert report(pg_estate, "report.xml").get("failures") == "0"
    assert pg_estate.tables("a") == {"one"}


# ---------------------------------------------------------------- texts from elsewhere

EVIL = "\r::error::no\r\n::add-mask::no ##[error]no \x1b[2J\x1b]0;no\x07 \x9b2J \x7f"


@pytest.mark.parametrize("arguments", [["status"], ["repair", "a"], ["history", "a"], ["plan"], ["apply"]])
@pytest.mark.parametrize("on_github", ["true", ""])
def test_nobody_obeys_what_others_wrote(pg_estate: Estate, arguments: list[str], on_github: str) -> None:
    """In an error that the history keeps, a name in it, a note of a server."""
    said = EVIL.replace("'", "''").replace("\\", "\\\\").replace("%", "%%")
    bad = f"SELECT 1;\nDO $do$ BEGIN RAISE EXCEPTION E'{said}'; END $do$;\n"
    pg_estate.add(
        "postgres", "a", {**ONE, "000002_##[error]\x1b[2J.up.sql": bad, "000002_##[error]\x1b[2J.down.sql": ""}
    )
    pg_estate.orch("apply", code=1)
    pg_estate.sql("a", "UPDATE orch_history SET name = %s, error = %s, actor = %s", EVIL, EVIL, EVIL)
    formats = {"status": ["json"], "repair": ["json"], "history": ["json"], "plan": ["json", "markdown"]}
    for output in ["text", *formats.get(arguments[0], ["json", "jsonl", "github", "gitlab"])]:
        words = [*arguments, "--output", output] if output != "text" else arguments
        done = piped(words, pg_estate.root, {**pg_estate.env, "GITHUB_ACTIONS": on_github}, text=False)
        for name, raw in (("stdout", done.stdout), ("stderr", done.stderr)):
            text = raw.decode()
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text), (output, name, text)
            lines = [line for line in text.split("\n") if finds_command(line)]
            if on_github and output == "github" and name == "stdout":
                lines = [line for line in lines if not re.match("::(error|warning|notice|add-mask)[ :]", line)]
            if on_github or (output in ("json", "jsonl") and name == "stdout"):
                assert not lines, (output, name)
        if output == "json":
            json.loads(done.stdout)
        if output == "jsonl":
            assert [json.loads(line) for line in done.stdout.splitlines()]


# ---------------------------------------------------------------- signals before there is a plan


@contextmanager
def silent_server() -> Iterator[socket.socket]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        yield listener


def taken(listener: socket.socket) -> socket.socket:
    """Wait until somebody has connected and asked something; the connection must be kept."""
    connection, _ = listener.accept()
    connection.settimeout(60)
    assert connection.recv(1)
    return connection


@pytest.mark.timing
@pytest.mark.parametrize(
    ("number", "output", "state"),
    [
        (signal.SIGTERM, "text", "waiting"),
        (signal.SIGINT, "json", "waiting"),
        (signal.SIGTERM, "jsonl", "waiting"),
        (signal.SIGINT, "jsonl", "silent"),
        (signal.SIGTERM, "github", "silent"),
        (signal.SIGINT, "gitlab", "waiting"),
        (signal.SIGTERM, "gitlab", "silent"),
    ],
)
def test_interrupted_before_there_is_a_plan(pg_estate: Estate, number: signal.Signals, output: str, state: str) -> None:
    pg_estate.add("postgres", "a", ONE)
    (pg_estate.root / "orch-junit.xml").write_text("of the last run")
    (pg_estate.root / "gl-code-quality-report.json").write_text("of the last run")
    manifest = pg_estate.root / "databases.yaml"
    with silent_server() as listener, ExitStack() as kept:
        port = listener.getsockname()[1]
        manifest.write_text(
            manifest.read_text().replace(
                f":{pg_estate.servers['postgres'].port}/", f":{1 if state == 'waiting' else port}/"
            )
        )
        outputs = {"GITHUB_OUTPUT": str(pg_estate.root / "out"), "GITHUB_STEP_SUMMARY": str(pg_estate.root / "summary")}
        process = pg_estate.start("apply", "--wait", "60", "--output", output, "--junit", "own.xml", env=outputs)
        deadline = time.monotonic() + TEN_SECONDS
        while not (pg_estate.root / "own.xml").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        head = ""
        if state == "silent":
            kept.enter_context(taken(listener))
        elif output != "jsonl":
            assert any("waiting for" in line for line in iter(process.stderr or ()))
        else:
            for line in iter(process.stdout or ()):
                head += line
                if "ServerWaiting" in line:
                    break
        process.send_signal(number)
        started = time.monotonic()
        stdout, stderr = process.communicate(timeout=60)
    stdout = head + stdout
    assert time.monotonic() - started < 30, "whoever interrupts does not wait for a server"
    assert process.returncode == 130
    assert "Traceback" not in stderr and stderr.splitlines()[-1] == "interrupted"
    assert report(pg_estate, "own.xml").get("failures") == "1"
    if output == "json":
        (error,) = json.loads(stdout)["errors"]
        assert (error["kind"], error["exit_code"]) == ("interrupted", 130)
        schema_of(pg_estate, "apply").validate(json.loads(stdout))
    if output == "jsonl":
        lines = [json.loads(line) for line in stdout.splitlines()]
        assert (lines[0]["event"], lines[-2]["event"], lines[-1]["event"]) == ("Stream", "Refused", "RunFinished")
        assert lines[-1]["exit_code"] == 130
    if output == "github":
        assert stdout.startswith("::error title=interrupted::")
        assert "has_changes=false" in (pg_estate.root / "out").read_text()
        assert "interrupted" in (pg_estate.root / "summary").read_text()
    if output == "gitlab":
        (finding,) = json.loads((pg_estate.root / "gl-code-quality-report.json").read_text())
        assert finding["check_name"] == "orch/interrupted"


@pytest.mark.parametrize("command", ["plan", "status", "wait", "history a"])
def test_interrupted_queries(pg_estate: Estate, command: str) -> None:
    pg_estate.add("postgres", "a", ONE)
    manifest = pg_estate.root / "databases.yaml"
    with silent_server() as listener, ExitStack() as kept:
        port = listener.getsockname()[1]
        manifest.write_text(manifest.read_text().replace(f":{pg_estate.servers['postgres'].port}/", f":{port}/"))
        process = pg_estate.start(*command.split(), "--output", "json")
        kept.enter_context(taken(listener))
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted"
    assert json.loads(stdout)["errors"][0]["kind"] == "interrupted"


@pytest.mark.timing
def test_a_signal_at_any_moment_of_the_start(pg_estate: Estate) -> None:
    """Also while modules are loaded and the manifest is read."""
    pg_estate.add("postgres", "a", ONE)
    for step in range(16):
        process = pg_estate.start("plan", "--output", "json", start_up=True)
        time.sleep(0.04 * step)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
        assert "Traceback" not in stderr and "Exception" not in stderr, stderr
        assert process.returncode in (0, 130, -signal.SIGTERM)
        if process.returncode == 0 or stderr:
            json.loads(stdout)


# ---------------------------------------------------------------- a command line that makes no sense


def test_a_misspelt_option_is_told_where_it_was_asked_for(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    for name in ("apply", "plan", "status"):
        wrong = pg_estate.orch(name, "--output", "json", "--onyl", "a", code=2).json
        schema_of(pg_estate, name).validate(wrong)
        assert wrong["errors"][0]["kind"] == "usage"
    lines = [
        json.loads(line) for line in pg_estate.orch("apply", "--onyl", "--output=jsonl", code=2).stdout.splitlines()
    ]
    assert [line["event"] for line in lines] == ["Stream", "Refused", "RunFinished"]
    assert "::error title=usage::" in pg_estate.orch("plan", "--onyl", "--output", "github", code=2).stdout
    pg_estate.orch("apply", "--onyl", "--output", "gitlab", "--junit", "own.xml", code=2)
    assert report(pg_estate, "own.xml").get("failures") == "1"
    assert "--onyl" in (pg_estate.root / "gl-code-quality-report.json").read_text()
    before = sorted(path.name for path in pg_estate.root.iterdir())
    pg_estate.orch("render", "--output", "gitlab", "--onyl", code=2)
    assert sorted(path.name for path in pg_estate.root.iterdir()) == before
    assert not Path(pg_estate.root / "plan.json").exists()
