"""Every command of the README runs, in the order in which a newcomer meets it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ORCH, Estate

from orchestrator import embedded

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(block: str) -> list[str]:
    """Return the commands of a block without their remarks."""
    return [line.partition(" #")[0].strip() for line in block.splitlines() if line.strip() and not line.startswith("#")]


def block_with(text: str) -> str:
    (found,) = [block for block in blocks("sh") if text in block]
    return found


def shell(command: str, directory: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = f"{Path(ORCH).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-ec", command], cwd=directory, env={**env, "PATH": path}, capture_output=True, text=True, timeout=120
    )


def test_the_first_estate_works_as_written(pg_estate: Estate) -> None:
    (manifest,) = blocks("yaml")
    prefix = pg_estate.prefix
    (pg_estate.root / "databases.yaml").write_text(manifest.replace("/{database}", f"/{prefix}{{database}}"))
    for name in ("product", "order"):
        pg_estate.write(
            f"postgres-{name}",
            {"000001_make.up.sql": f"CREATE TABLE {name}s (id int);", "000001_make.down.sql": f"DROP TABLE {name}s;"},
        )
    env = pg_estate.env | embedded.environment(pg_estate.servers)
    ran = [command for command in commands(block_with("orch validate")) if command.startswith("orch")]
    assert len(ran) >= 7
    for command in ran:
        done = shell(command, pg_estate.root, env)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    status = pg_estate.orch("status", "--output", "json", env=env).json["databases"]
    assert [(entry["id"], entry["version"]) for entry in status] == [("postgres-product", 1), ("postgres-order", None)]

    for command in commands(block_with("orch add-db")):
        done = shell(command, pg_estate.root, env)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    status = pg_estate.orch("status", "--output", "json", env=env).json["databases"]
    assert [entry["version"] for entry in status] == [1, 1, 2], "the new database and what it needs"


def test_the_embedded_servers_work_as_written(tmp_path: Path, pg_estate: Estate) -> None:
    (manifest,) = blocks("yaml")
    (tmp_path / "databases.yaml").write_text(manifest)
    for name in ("product", "order"):
        pg_estate.write(f"postgres-{name}", {"000001_make.up.sql": f"CREATE TABLE {name}s (id int);"})
    script = "orch apply --embedded\n" + block_with("orch dev up").replace("orch dev down", "orch apply\norch dev down")
    done = shell(script, tmp_path, pg_estate.env)
    assert done.returncode == 0, done.stderr
    assert "Nothing to do" in done.stderr, "the variables of `orch dev env` lead to the same servers"
    assert embedded.status(tmp_path / ".orch") == []


@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_two_commands_are_targets_of_the_makefile(name: str) -> None:
    assert f"make {name} " in block_with("make demo")
    done = subprocess.run(["make", "--dry-run", name], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
