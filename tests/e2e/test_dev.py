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

        old = {
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": "26999",
            "POSTGRES_USER": "orch",
            "POSTGRES_PASSWORD": "old",
        }
        told = estate.orch("status", env=old, code=7).stderr
        assert "POSTGRES_PORT and POSTGRES_PASSWORD of this shell are of an embedded server that ran earlier" in told
        assert 'earlier: eval "$(orch dev env)"' in told
        assert "ran earlier" not in estate.orch("status", env=old | {"POSTGRES_PORT": "1"}, code=7).stderr

        assert estate.orch("dev", "down").stdout.startswith("stopped PostgreSQL ")
        assert 'orch dev up && eval "$(orch dev env)"' in estate.orch("status", env=old, code=7).stderr
        estate.orch("dev", "up")
        assert "Nothing to do" in estate.orch("apply", "--embedded").stderr  # its data was kept
        assert "their data under .orch is deleted" in estate.orch("dev", "down", "--delete").stdout
        assert [path.name for path in sorted(root.iterdir())] == [".gitignore", "lock"]
        assert "nothing was running" in estate.orch("dev", "down", "--delete").stdout
    finally:
        clean(root)
