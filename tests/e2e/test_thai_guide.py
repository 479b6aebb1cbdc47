"""The guide in Thai: a person follows it from the top to the bottom, on embedded servers."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate import ORCH

from orchestrator import embedded

GUIDE = (Path(__file__).parents[2] / "docs" / "adding-a-database.th.md").read_text()
# A file to write with its text, or a block of commands, in the order in which they stand there.
STEP = re.compile(r"`(migrations/\S+)`\n```\w+\n(.*?)```|```sh\n(.*?)```", re.DOTALL)
BEFORE = "orch init\norch add-db product --engine postgres\norch add-db order --engine postgres --depends-on product"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    embedded.down(tmp_path / ".orch")


def test_every_step_works_in_its_order(shop: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ORCH_", "POSTGRES_", "MONGO_"))}
    env["PATH"] = f"{Path(ORCH).parent}{os.pathsep}{env['PATH']}"

    def run(commands: str) -> str:
        done = subprocess.run(
            ["bash", "-exc", commands], cwd=shop, env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(BEFORE)
    written = 0
    for path, text, commands in STEP.findall(GUIDE):
        if commands:
            run(commands)
        else:
            assert (shop / path).is_file(), f"{path}: the command before did not create it"
            (shop / path).write_text(text)
            written += 1
    assert written == 8
    status = run("orch status --embedded")
    assert re.search(r"^postgres-inventory .* 2 +0 +up to date", status, re.MULTILINE), status
    assert re.search(r"^mongo-logs .* 2 +0 +up to date", status, re.MULTILINE), status
    assert (shop / "k8s").is_dir()
