"""The commands of `orch dev`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_roots import clean, passable_place
from estate import ORCH, Estate


@pytest.fixture
def open_place() -> Iterator[Path]:
    with passable_place() as place:
        yield place


def test_the_commands_of_orch_dev(open_place: Path) -> None:
    estate = Estate(open_place, {})
    (open_place / "migrations/postgres-a/schema").mkdir(parents=True)
    (open_place / "migrations/postgres-a/schema/1_a.up.sql").write_text("CREATE TABLE a ();")
    dsn = "postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@${POSTGRES_HOST}:${POSTGRES_PORT}/{database}"
    (open_place / "databases.yaml").write_text(
        f"version: 1\ndatabases:\n  - {{name: a, engine: postgres, dsn: '{dsn}'}}\n"
    )
    root = open_place / ".orch"
    try:
        assert "nothing is running; start: orch dev up" in estate.orch("dev", "status").stdout
        assert estate.orch("dev", "status", "--output", "json").json == {"format": 1, "servers": []}
        assert "nothing was running" in estate.orch("dev", "down").stdout
        assert "orch dev up" in estate.orch("dev", "env", code=1).stderr
        assert not root.exists()

        started = estate.orch("dev", "up").stdout
        assert started == estate.orch("dev", "up").stdout == estate.orch("dev", "status").stdout
        (server,) = estate.orch("dev", "status", "--output", "json").json["servers"]
        assert (server["engine"], server["host"]) == ("postgres", "127.0.0.1")
        applied = f'set -e; eval "$({ORCH} dev env)"; {ORCH} apply'
        assert subprocess.run(["bash", "-c", applied], cwd=open_place, env=estate.env, timeout=60).returncode == 0

        assert estate.orch("dev", "down").stdout.startswith("stopped PostgreSQL ")
        estate.orch("dev", "up")
        assert "Nothing to do" in estate.orch("apply", "--embedded").stderr  # its data was kept
        assert "their data under .orch is deleted" in estate.orch("dev", "down", "--delete").stdout
        assert [path.name for path in sorted(root.iterdir())] == [".gitignore", "lock"]
        assert "nothing was running" in estate.orch("dev", "down", "--delete").stdout
    finally:
        clean(root)
