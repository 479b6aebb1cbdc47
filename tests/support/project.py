"""Projects on disk for tests, the command to run in them, and all that is in them to compare."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from estate import ORCH

from orchestrator.cli.run import run

PROJECT = Path(__file__).parents[2]
SERVERS = """\
version: 1
servers:
  postgres: {engine: postgres, dsn: "postgres://u:${POSTGRES_PASSWORD}@${POSTGRES_HOST:-localhost}/{database}"}
  mongo: {engine: mongo, dsn: "mongodb://${MONGO_HOST:-localhost}/{database}"}
"""


def orch(root: Path, *arguments: str, code: int | None = 0, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a project: inside of this process, which is quicker, or with `settings` as one of its own."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("ORCH_", "POSTGRES_", "MONGO_"))}
    if settings:
        done = subprocess.run(
            [ORCH, *arguments], cwd=root, capture_output=True, text=True, timeout=60, env=env, **settings
        )
    else:
        done = _inside(root, arguments, env)
    assert "Traceback" not in done.stderr, done.stderr
    if code is not None:
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def _inside(root: Path, arguments: tuple[str, ...], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    stdout, stderr = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with (
            contextlib.chdir(root),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
            mock.patch.dict(os.environ, env, clear=True),
            mock.patch.object(sys, "argv", ["orch", *arguments]),
        ):
            code = run()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return subprocess.CompletedProcess(["orch", *arguments], code, stdout.getvalue(), stderr.getvalue())


def snapshot(root: Path) -> dict[str, object]:
    """Every path below a directory: what a file holds, where a link leads, or that it is a directory."""
    return {
        str(path.relative_to(root)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else "directory"
        for path in sorted(root.rglob("*"))
        if ".git" not in path.parts
    }


def whole_project(tmp_path: Path) -> Path:
    """A copy of this project's own estate, with everything rendered."""
    root = tmp_path / "shop"
    root.mkdir()
    for name in (
        "databases.yaml",
        "migrations",
        "k8s",
        "docker-compose.multi-db.yml",
        "Dockerfile",
        "Dockerfile.dockerignore",
    ):
        source = PROJECT / name
        shutil.copytree(source, root / name) if source.is_dir() else shutil.copy(source, root / name)
    return root


def small_project(tmp_path: Path) -> Path:
    root = tmp_path / "small"
    for id, name in (("postgres-a", "a"), ("postgres-b", "b")):
        schema = root / "migrations" / id / "schema"
        schema.mkdir(parents=True)
        (schema / f"000001_{name}.up.sql").write_text("SELECT 1;\n")
    text = SERVERS + "databases:\n  - {name: a, server: postgres}\n  - {name: b, server: postgres, depends_on: [a]}\n"
    (root / "databases.yaml").write_text(text)
    return root
