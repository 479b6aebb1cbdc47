"""No secret leaves the process through stdout, stderr or a sink, although somebody forgot to hide it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import get_args

import pytest

from orchestrator import events
from orchestrator.cli.console import out, out_json, out_secret, say
from orchestrator.cli.ends import report
from orchestrator.cli.streams import put
from orchestrator.events import DatabaseFailed, Event, Failure, Notice
from orchestrator.execution.run import Run
from orchestrator.hints import Command, Hint
from orchestrator.manifest import redact
from orchestrator.manifest.redact import Redactor
from orchestrator.model import Mark

SECRET = "p\"ss\\w0rd é 7'"
# Fields that hold names of the manifest and of files, and words of orch's own; all other texts come from elsewhere.
OWN = {"database", "run_id", "name", "file", "severity", "databases", "by", "succeeded", "failed", "blocked", "skipped"}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Redactor]:
    made = Redactor([SECRET])
    monkeypatch.setattr(redact, "redactor", made)
    yield made


def run_with(heard: list[Event]) -> Run:
    return Run(
        run_id="1",
        actor="a",
        tool="t",
        read_script=lambda *_: pytest.fail("no file is read"),
        redact=Redactor([SECRET]),
        sink=heard.append,
        databases={},
        targets={},
        catalogs={},
        engines={},
    )


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: str(kind.__name__))
def test_every_text_of_every_event(kind: type) -> None:
    heard: list[Event] = []
    failure = Failure("x", 1, SECRET, Mark(SECRET, 1, 2), SECRET, Hint(f"{SECRET}: ", Command("repair", SECRET)))
    texts: dict[str, str | Failure] = {}
    for field, annotation in kind.__annotations__.items():
        if field in OWN:
            continue
        if "Failure" in str(annotation):
            texts[field] = failure
        elif "str" in str(annotation):
            texts[field] = f"a {SECRET} b"
    values = [texts.get(field, "x") for field in kind.__annotations__]
    run_with(heard).sink(kind(*values))
    assert SECRET not in repr(heard[0]) and "w0rd" not in repr(heard[0])
    assert isinstance(heard[0], kind)
    for field in texts:
        assert "***" in str(getattr(heard[0], field))


def test_commands_of_hints_stay_data_behind_the_edge() -> None:
    heard: list[Event] = []
    hint = Hint("x: ", Command("repair", "it's", "--reason", SECRET))
    run_with(heard).sink(DatabaseFailed("a", Failure("x", 1, "w", hint=hint)))
    run_with(heard).sink(Notice("a", hint))
    assert isinstance(heard[0], DatabaseFailed) and isinstance(heard[1], Notice)
    for told in (heard[0].failure.hint, heard[1].text):
        assert isinstance(told, Hint)
        assert told.commands == (Command("repair", "it's", "--reason", "***"),)


def test_stdout_and_stderr(secrets: Redactor, capfd: pytest.CaptureFixture[str]) -> None:
    out(f"a {SECRET} b")
    out_json({"a": SECRET, "b": [f"postgres://u:{SECRET}@h"], SECRET: "é"})
    put(f"a,{SECRET}\n")
    say(f"error: {SECRET}")
    said = capfd.readouterr()
    assert "w0rd" not in said.out + said.err
    assert json.loads(said.out.partition("{")[1] + said.out.partition("{")[2].rpartition("}")[0] + "}")["a"] == "***"
    out_secret(SECRET)
    assert capfd.readouterr().out == f"{SECRET}\n"


def test_what_may_be_data_stays(secrets: Redactor) -> None:
    secrets.add("postgres", "20240101", "abc", "order_service", "order_service2")
    secrets.tolerate("order_service")
    assert secrets.once_more("postgres 20240101 abc order_service") == "postgres 20240101 abc order_service"
    assert secrets.once_more("(order_service2)") == "(***)"
    secrets.tolerate("order_service2")
    assert secrets.once_more("(order_service2)") == "(order_service2)"


def test_thousands_of_secrets_and_megabytes_of_text() -> None:
    many = Redactor(f"secret-of-database-{number:05}" for number in range(5_000))
    text = "postgres-order at version 12, 3 pending\n" * 25_000 + "secret-of-database-04999"
    began = time.process_time()
    assert many.once_more(text).endswith("pending\n***")
    assert time.process_time() - began < 5


def test_every_event_is_in_the_union() -> None:
    named = {one for one in vars(events).values() if isinstance(one, type) and hasattr(one, "_replace")}
    assert named == set(get_args(Event))


def test_a_signal_after_the_document_writes_no_second_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["orch", "plan", "--output", "json"])
    monkeypatch.setattr("orchestrator.cli.streams._last", [])
    assert report(KeyboardInterrupt()) == 130
    assert json.loads(capsys.readouterr().out)["errors"], "before a document, the error is the document"
    out_json({"format": 1})
    assert report(KeyboardInterrupt()) == 130
    assert json.loads(capsys.readouterr().out) == {"format": 1}
