"""A new engine is a package and one line in a table: with a toy engine, every command that asks the record is run."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from memory_engine import Store
from yaml import safe_load


class Project:
    """A project whose only database is of the toy engine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.home.mkdir()

    def orch(self, *arguments: str, code: int = 0) -> str:
        """Run orch with one more engine in its table; return stdout, and stderr where it failed."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parents[1] / "support" / "toy_engine.py"), *arguments],
            cwd=self.root,
            env={**environment, "TOY_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout + (done.stderr if code else "")

    def store(self, name: str) -> Store:
        found: Store = pickle.loads((self.home / name).read_bytes())
        return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_toy_engine_goes_through_every_command(project: Project) -> None:
    project.orch("init")
    assert "engine: toy" in (project.root / "databases.yaml").read_text()
    project.orch("add-db", "shelf", "--engine", "toy")
    folder = project.root / "migrations" / "toy-shelf" / "schema"
    assert sorted(one.name for one in folder.iterdir()) == [
        "000001_create_shelf_toys.down.toy",
        "000001_create_shelf_toys.up.toy",
    ]
    project.orch("new", "shelf", "blocks")
    (folder / "000002_blocks.up.toy").write_text("add blocks\nadd cubes\n")
    (folder / "000002_blocks.down.toy").write_text("remove blocks\nremove cubes\n")
    project.orch("validate")
    planned = json.loads(project.orch("plan", "--output", "json", code=0))
    assert [step["version"] for step in planned["databases"][0]["steps"]] == [1, 2]
    assert planned["databases"][0]["endpoint"] == "localhost:7777"
    assert not list(project.home.iterdir()), "planning creates nothing"
    project.orch("apply")
    assert project.store("shelf").state() == {"blocks": 1, "cubes": 1, "items": 1}
    (row,) = json.loads(project.orch("status", "--output", "json"))["databases"]
    assert (row["id"], row["version"], row["pending"]) == ("toy-shelf", 2, [])
    project.orch("rollback", "shelf", "--steps", "1", "--yes")
    assert project.store("shelf").state() == {"items": 1}


def test_a_toy_engine_is_rendered(project: Project) -> None:
    project.orch("init")
    project.orch("add-db", "shelf", "--engine", "toy")
    project.orch("render", "compose", "k8s")
    compose = safe_load((project.root / "docker-compose.multi-db.yml").read_text())
    assert compose["services"]["toy"]["image"] == "toy:1"
    assert compose["services"]["toy"]["ports"] == ["127.0.0.1:${TOY_PORT:-7777}:7777"]
    assert compose["services"]["toy"]["volumes"] == ["toy-data:/toys"]
    manifests = "".join(one.read_text() for one in (project.root / "k8s").glob("*.yaml"))
    assert "TOY_DSN" in manifests and "ORCH_DSN_TOY_SHELF" in manifests


def test_the_manifest_knows_the_toy_engine(project: Project) -> None:
    project.orch("init")
    path = project.root / "databases.yaml"
    text = path.read_text()
    assert "did you mean 'toy'?" in project.orch("add-db", "shelf", "--engine", "toi", code=2)
    assert "belongs to the server" in project.orch("add-db", "toybox", "--engine", "toy", code=2)
    assert "is too long for a toy" in project.orch("add-db", "a" * 21, "--engine", "toy", code=2)
    project.orch("add-db", "shelf", "--engine", "toy")
    written = path.read_text()
    path.write_text(written.replace("/{database}", "/{database}?x-migration-table=a") + "\n")
    assert "did you mean 'x-migrations-table'?" in project.orch("validate", code=4)
    path.write_text(written.replace("engine: toy", "engine: toydb"))
    assert "did you mean 'toy'?" in project.orch("validate", code=4)
    path.write_text(written + "render: {compose: {toy_image: 'toy:2'}, k8s: {keys: {toy: KEY}}}\n")
    project.orch("render", "compose")
    assert "toy:2" in (project.root / "docker-compose.multi-db.yml").read_text()
    assert text != written
