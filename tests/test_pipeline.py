"""A pipeline: the README's as a shell script on late servers, what CI files we ship, and commands that never ask."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ORCH, SERVERS, Estate

from orchestrator import embedded
from orchestrator.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
LATE = 5.0  # seconds


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Estate]:
    """An estate on servers of its own, which can be stopped and come late."""
    for variables in (SERVERS["postgres-wheel"][1], SERVERS["mongod"][1]):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
    estate = Estate(tmp_path, embedded.up(tmp_path / "own", ["postgres", "mongo"]))
    yield estate
    embedded.remove(tmp_path / "own")


def test_the_pipeline_of_the_readme_on_servers_that_come_late(own: Estate) -> None:
    own.manifest("  - {name: order, server: postgres}\n  - {name: logs, server: mongo, depends_on: [order]}\n")
    own.write("postgres-order", {"000001_a.up.sql": "CREATE TABLE a ();", "000001_a.down.sql": "DROP TABLE a;"})
    own.write("mongo-logs", {"000001_a.up.js": '[{"create": "a"}]', "000001_a.down.js": '[{"drop": "a"}]'})
    (script,) = re.findall(r"## In a pipeline\n.*?```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    embedded.down(own.root / "own")
    late = threading.Timer(LATE, lambda: embedded.up(own.root / "own", ["postgres", "mongo"]))
    late.start()
    started = time.monotonic()
    outputs = {"GITHUB_OUTPUT": str(own.root / "outputs"), "GITHUB_STEP_SUMMARY": str(own.root / "summary")}
    env = {**own.env, **outputs, "CI": "true", "PATH": f"{Path(ORCH).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=own.root,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    late.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - started > LATE - 1
    assert "waiting for the server" in done.stderr
    assert own.status("postgres-order")["version"] == own.status("mongo-logs")["version"] == 1
    assert (own.root / "outputs").read_text().startswith("has_changes=true\napplied_count=1\npending_count=0\n")
    assert "order_test" not in own.orch("dev", "status").stdout
    assert all(server.password not in done.stdout + done.stderr for server in own.servers.values())


# ---------------------------------------------------------------- the files that we ship


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("github-actions", "action.yml"),
        ("github-workflows", ".github/workflows/ci.yml"),
        ("github-workflows", "examples/shop/.github/workflows/tests.yml"),
        ("gitlab-ci", "templates/orch.gitlab-ci.yml"),
    ],
)
def test_ci_files_are_what_their_schemas_say(schema: str, file: str) -> None:
    tool = Path(ORCH).with_name("check-jsonschema")
    command = [tool, "--builtin-schema", f"vendor.{schema}", str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_github_files_are_safe() -> None:
    tool = Path(ORCH).with_name("zizmor")
    files = [
        str(ROOT / name)
        for name in ("action.yml", ".github/workflows/ci.yml", "examples/shop/.github/workflows/tests.yml")
    ]
    done = subprocess.run([tool, "--offline", "--no-progress", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_action_runs_as_a_runner_runs_it(pg_estate: Estate) -> None:
    """Its last step as bash, with what its inputs say in the environment, in a directory with a space."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    step = action["runs"]["steps"][-1]
    assert "${{" not in step["run"], "what comes from outside is never part of the script"
    pg_estate.add("postgres", "a", {"000001_a.up.sql": "SELECT 1;", "000001_a.down.sql": "SELECT 1;"})
    output = pg_estate.root / "output of the step"
    env = {**pg_estate.env, "GITHUB_OUTPUT": str(output), "WAIT": "60", "CI": "true"}
    env["PATH"] = f"{Path(ORCH).parent}{os.pathsep}{os.environ['PATH']}"

    def run(command: str, arguments: str) -> tuple[int, dict[str, str]]:
        output.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=pg_estate.root,
            env={**env, "COMMAND": command, "ARGUMENTS": arguments},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, dict(line.split("=") for line in output.read_text().splitlines())

    assert run("plan", "--out=plan with space.json")[1]["has_changes"] == "true"
    assert run("apply", "plan with space.json\n")[1] == {
        "has_changes": "true",
        "applied_count": "1",
        "pending_count": "0",
    }
    assert run("plan", "--only\na") == (0, {"has_changes": "false", "applied_count": "0", "pending_count": "0"})
    assert run("plan; touch pwned", "")[0] == 2
    assert run("plan", "$(touch pwned)")[0] != 0
    assert not (pg_estate.root / "pwned").exists()
    assert set(action["outputs"]) == {"has_changes", "applied_count", "pending_count"}


def test_the_hooks_are_commands(pg_estate: Estate) -> None:
    hooks: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["id"] for hook in hooks] == ["orch-validate", "orch-render-check"]
    pg_estate.add("postgres", "a", {"000001_a.up.sql": "SELECT 1;", "000001_a.down.sql": "SELECT 1;"})
    for hook in hooks:
        assert {"id", "name", "description", "language", "entry"} <= set(hook)
        program, *arguments = hook["entry"].split()
        assert program == "orch"
        assert pg_estate.orch(*arguments, code=None).code != 2, "no such command or option"


# ---------------------------------------------------------------- nothing ever asks


ARGUMENTS: dict[str, list[list[str]]] = {
    "rollback": [["a", "--steps", "1"], ["a", "--to", "0"]],
    "history": [["a"]],
    "repair": [["a"], ["a", "--forget", "1"]],
    "baseline": [["a", "--version", "1"]],
    "unlock": [["a"], ["a", "--yes"]],
    "clone": [["a", "--as", "CLONE"]],
    "drop-clone": [["CLONE"], []],
    "dev": [["status"], ["down"], ["env"], []],
    "wait": [["--for", "a", "--timeout", "1"]],
    "add-db": [["b"], []],
    "rm-db": [["b"], []],
    "new": [["a", "more"], []],
    "verify": [["a"], []],
}


@pytest.mark.parametrize("ci", ["true", ""])
def test_no_command_asks_or_hangs_without_a_terminal(pg_estate: Estate, ci: str) -> None:
    """stdin is a pipe that nobody writes to and nobody closes: whoever reads it hangs, and fails the test."""
    pg_estate.add("postgres", "a", {"000001_a.up.sql": "SELECT 1;", "000001_a.down.sql": "SELECT 1;"})
    pg_estate.orch("apply")
    reader, writer = os.pipe()
    clone = f"{pg_estate.prefix}clone"
    try:
        for name in COMMANDS:
            for arguments in ARGUMENTS.get(name, [[]]):
                done = subprocess.run(
                    [ORCH, name, *(clone if a == "CLONE" else a for a in arguments)],
                    cwd=pg_estate.root,
                    env={**pg_estate.env, "CI": ci},
                    stdin=reader,
                    capture_output=True,
                    text=True,
                    timeout=30,
                )
                assert "Traceback" not in done.stderr
                assert not re.search(r"\[y/N\]|Type 'yes'|: $", done.stdout + done.stderr), (name, done.stderr)
    finally:
        os.close(reader)
        os.close(writer)
