"""A pipeline: the README's as a shell script on late servers, what CI files we ship, and commands that never ask."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate import ORCH, SERVERS, Estate, piped
from processes import until

from orchestrator import embedded
from orchestrator.cli.command_table import COMMANDS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Estate]:
    """An estate on servers of its own, which can be stopped and come late."""
    for variables in (SERVERS["postgres-wheel"][1], SERVERS["mongod"][1]):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
    estate = Estate(tmp_path, embedded.up(tmp_path / "own", ["postgres", "mongo"]))
    yield estate
    embedded.remove(tmp_path / "own")


@pytest.mark.timing
def test_the_pipeline_of_the_readme_on_servers_that_come_late(own: Estate) -> None:
    own.manifest("  - {name: order, server: postgres}\n  - {name: logs, server: mongo, depends_on: [order]}\n")
    own.write("postgres-order", {"000001_a.up.sql": "CREATE TABLE a ();", "000001_a.down.sql": "DROP TABLE a;"})
    own.write("mongo-logs", {"000001_a.up.js": '[{"create": "a"}]', "000001_a.down.js": '[{"drop": "a"}]'})
    (script,) = re.findall(r"## In a pipeline\n.*?```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    embedded.down(own.root / "own")
    outputs = {"GITHUB_OUTPUT": str(own.root / "outputs"), "GITHUB_STEP_SUMMARY": str(own.root / "summary")}
    env = {**own.env, **outputs, "CI": "true", "PATH": f"{Path(ORCH).parent}{os.pathsep}{os.environ['PATH']}"}
    said = own.root / "said"
    with (
        said.open("w") as file,
        subprocess.Popen(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=own.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        ) as pipeline,
    ):
        until(lambda: "waiting for the server" in said.read_text(), 60)
        embedded.up(own.root / "own", ["postgres", "mongo"])
        code = pipeline.wait(100)
    text = said.read_text()
    assert code == 0, text + "".join(log.read_text()[-3000:] for log in (own.root / "own").rglob("log"))
    assert own.status("postgres-order")["version"] == own.status("mongo-logs")["version"] == 1
    assert (own.root / "outputs").read_text().startswith("has_changes=true\napplied_count=1\npending_count=0\n")
    assert "order_test" not in own.orch("dev", "status").stdout
    assert all(server.password not in text for server in own.servers.values())


# ---------------------------------------------------------------- the files that we ship


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("github-actions", "action.yml"),
        ("github-workflows", ".github/workflows/ci.yml"),
        ("github-workflows", ".github/workflows/mysql.yml"),
        ("github-workflows", ".github/workflows/release.yml"),
        ("github-workflows", "examples/shop/.github/workflows/tests.yml"),
        ("gitlab-ci", "templates/orch.gitlab-ci.yml"),
    ],
)
def test_ci_files_are_what_their_schemas_say(schema: str, file: str) -> None:
    tool = Path(ORCH).with_name("check-jsonschema")
    command = [str(tool), "--builtin-schema", f"vendor.{schema}", str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_github_files_are_safe() -> None:
    tool = Path(ORCH).with_name("zizmor")
    files = [
        str(ROOT / name)
        for name in (
            "action.yml",
            ".github/workflows/ci.yml",
            ".github/workflows/mysql.yml",
            ".github/workflows/release.yml",
            "examples/shop/.github/workflows/tests.yml",
        )
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
    assert run("lint", "") == (0, {})
    pg_estate.write("postgres-a", {"000002_b.up.sql": "DROP TABLE t;"})
    assert run("lint", "--since\n1") == (1, {})
    assert run("setup", "") == run("", "") == (0, {})
    assert set(action["outputs"]) == {"has_changes", "applied_count", "pending_count", "python-path"}


def test_the_action_installs_once_and_changes_no_other_python(tmp_path: Path) -> None:
    """Its first script as bash: what it installs is a package that only has a command of the name."""
    python, install, _ = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    assert python["with"]["update-environment"] is False
    assert "${{" not in install["run"], "what comes from outside is never part of the script"
    package = tmp_path / "a package"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[project]\nname = "stand-in"\nversion = "1"\nscripts = {orch = "stand_in:main"}\n'
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[tool.setuptools]\npy-modules = ["stand_in"]\n'
    )
    (package / "stand_in.py").write_text("import sys\ndef main(): print('stand-in', sys.prefix)\n")
    runner = tmp_path / "runner temp"
    runner.mkdir()
    files = {name: tmp_path / name for name in ("GITHUB_PATH", "GITHUB_OUTPUT")}
    env = {
        **os.environ,
        **{name: str(file) for name, file in files.items()},
        "RUNNER_TEMP": str(runner),
        "PACKAGE": str(package),
        "PYTHON": sys.executable,
        "GITHUB_ACTION_PATH": str(ROOT),
    }
    times = []
    for _ in range(2):
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", install["run"]]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        times.append((runner / "orch" / "installed").stat().st_mtime_ns)
    assert times[0] == times[1], "the second use finds it"
    (added,) = set(files["GITHUB_PATH"].read_text().splitlines())
    assert os.listdir(added) == ["orch"]
    outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
    ran = subprocess.run([f"{added}/orch"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"stand-in {Path(outputs['python-path']).parents[1]}\n"


def test_the_hooks_pass_and_fail_as_they_should(pg_estate: Estate) -> None:
    hooks: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["id"] for hook in hooks] == ["orch-validate", "orch-lint", "orch-render-check"]
    pg_estate.add("postgres", "a", {"000001_a.up.sql": "SELECT 1;", "000001_a.down.sql": "SELECT 1;"})

    def run(hook: dict[str, Any], code: int) -> None:
        assert {"id", "name", "description", "language", "entry"} <= set(hook)
        program, *arguments = hook["entry"].split()
        assert program == "orch"
        pg_estate.orch(*arguments, code=code)

    manifest = pg_estate.root / "databases.yaml"
    manifest.write_text(manifest.read_text().replace("127.0.0.1", "${POSTGRES_HOST:-127.0.0.1}"))
    validate, lint, render = hooks
    run(validate, 0)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):  # pre-commit runs in a repository
        subprocess.run([*git, *arguments], cwd=pg_estate.root, check=True, capture_output=True)
    run(lint, 0)
    run(render, 0)  # nothing is rendered, so nothing is stale
    pg_estate.orch("render", "k8s")
    run(render, 0)
    manifest.write_text(manifest.read_text().replace('name: "a"', "name: b, migrations: migrations/postgres-a/schema"))
    run(render, 3)
    pg_estate.write("postgres-a", {"000002_b.up.sql": "DROP TABLE t;"})
    run(lint, 1)
    pg_estate.write("postgres-a", {"000002_b.up.sql": "SELECT 'x;"})
    run(validate, 4)
    run(lint, 1)


def test_the_gitlab_template_runs_as_a_runner_runs_it(pg_estate: Estate) -> None:
    """Its jobs' scripts in sh, with what is given to the one kept for the other."""
    template = yaml.safe_load((ROOT / "templates" / "orch.gitlab-ci.yml").read_text())
    path = f"{Path(ORCH).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**pg_estate.env, **template[".orch"]["variables"], "CI": "true", "PATH": path, "ORCH_WAIT": "60"}
    pg_estate.add("postgres", "a", {"000001_a.up.sql": "SELECT 1;", "000001_a.down.sql": "SELECT 1;"})

    def run(job: str) -> subprocess.CompletedProcess[str]:
        script = "set -e\n" + "\n".join(template[job]["script"])
        return subprocess.run(
            ["sh", "-c", script], cwd=pg_estate.root, env=env, capture_output=True, text=True, timeout=60
        )

    planned = run(".orch-plan")
    assert planned.returncode == 0, planned.stderr
    assert all((pg_estate.root / name).exists() for name in template[".orch-plan"]["artifacts"]["paths"])
    pg_estate.write("postgres-a", {"000002_later.up.sql": "SELECT 1;", "000002_later.down.sql": "SELECT 1;"})
    assert run(".orch-apply").returncode == 0
    assert pg_estate.version_row("a") == [(1, False)], "what was planned, and no more"
    reports = template[".orch-apply"]["artifacts"]["reports"]
    assert "1 a" in (pg_estate.root / reports["junit"]).read_text()
    assert json.loads((pg_estate.root / reports["codequality"]).read_text()) == []
    (pg_estate.root / "plan.json").unlink()
    assert run(".orch-apply").returncode == 0
    assert pg_estate.version_row("a") == [(2, False)]


# ---------------------------------------------------------------- nothing ever asks


ARGUMENTS: dict[str, list[list[str]]] = {
    "rollback": [["a", "--steps", "1"], ["a", "--to", "0"]],
    "history": [["a"]],
    "repair": [["a"], ["a", "--mark-not-applied", "1"]],
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
                words = [name, *(clone if a == "CLONE" else a for a in arguments)]
                done = piped(words, pg_estate.root, {**pg_estate.env, "CI": ci}, stdin=reader)
                assert "Traceback" not in done.stderr and "No such option" not in done.stderr, (name, done.stderr)
                assert not re.search(r"\[y/N\]|Type 'yes'|: $", done.stdout + done.stderr), (name, done.stderr)
    finally:
        os.close(reader)
        os.close(writer)
