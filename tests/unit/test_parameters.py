"""Calls that are read without typer: what typer would read, or nothing."""

from __future__ import annotations

from functools import wraps
from importlib import import_module
from typing import Any

import pytest
import typer

from orchestrator.cli import run
from orchestrator.cli.app import app
from orchestrator.cli.parameters import read

PLAIN = [
    "",
    "-f x.yaml",
    "--file x.yaml",
    "--file=x.yaml",
    "--file a=b",
    "--output json",
    "--output=text",
    "--only a --only b,c --exclude label:x",
]
OF_ONE = {
    "apply": [
        "plan.json",
        "--to 3 --no-create --wait 2.5 --lock-timeout 0 -y",
        "--jobs 1 --jobs-per-server 3 --output jsonl --junit x.xml -v --timings --prometheus p",
        "--failed --fail-fast --shard 1/4 --embedded plan.json --env-file .e --no-deps --allow-out-of-order",
    ],
    "plan": ["-o plan.json --exit-code --down --steps 2", "--to 0 --only a --output markdown"],
    "status": ["a b --pending c --problems", "'label:x'"],
    "validate": ["--no-deps"],
    "wait": ["--for a@2 --for b --timeout 5 --every 0.1"],
}
LEFT_TO_TYPER = [
    "--help",
    "-h",
    "--nothing",
    "--file",
    "--file=",
    "--file -x",
    "--file x --file y",
    "-fx.yaml",
    "-f=x",
    "--output xml",
    "--output JSON",
    "-- x",
    "-",
    "--color never",
    "--quiet",
    "--on a",
]
OF_ONE_LEFT = {
    "apply": [
        "a b",
        "--to -1",
        "--to x",
        "--to ٣",
        "--jobs 0",
        "--wait nan",
        "--wait 1e3",
        "--wait inf",
        "-yv",
        "--yes=1",
    ],
    "wait": ["--every 0.05", "x"],
    "validate": ["x", "-v"],
    "status": ["--verbose"],
}


def _by_typer(module: Any, words: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the arguments with which typer calls the command of a module."""
    seen: dict[str, Any] = {}
    with monkeypatch.context() as patch:
        patch.setattr(module, "command", wraps(module.command)(lambda **given: seen.update(given)))
        root = typer.main.get_command(app)
        context = root.make_context("orch", [], resilient_parsing=True)
        command = root.get_command(context, module.__name__.rpartition(".")[2])  # type: ignore[attr-defined]
        command.main(words, standalone_mode=False)
    return seen


@pytest.mark.parametrize("name", run.EVERYDAY)
def test_a_plain_call_is_read_as_typer_reads_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module(f"orchestrator.cli.commands.{name}")
    command = module.command
    for line in (*PLAIN, *OF_ONE[name]):
        words = line.replace("'", "").split()
        if "--exclude" in words and name == "wait":
            continue  # it has no such options
        found = read(command, words)
        assert found is not None, line
        expected = _by_typer(module, words, monkeypatch)
        assert found == expected, line
        assert [type(one) for one in found.values()] == [type(expected[one]) for one in found], line


@pytest.mark.parametrize("name", run.EVERYDAY)
def test_everything_else_is_left_to_typer(name: str) -> None:
    command = import_module(f"orchestrator.cli.commands.{name}").command
    for line in (*LEFT_TO_TYPER, *OF_ONE_LEFT.get(name, ())):
        assert read(command, line.split()) is None, line
