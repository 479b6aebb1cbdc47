"""Programs that check what is rendered: Docker Compose, linters, and the versions of Kubernetes whose schemas are known."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest

TOOLS = Path(sys.executable).parent
VERSIONS = [f"1.{minor}" for minor in range(29, int(kubernetes_validate.latest_version().split(".")[1]) + 1)]


def docker_compose() -> list[str]:
    """Return how Compose v2 is called here; skip where it is not."""
    places = [os.environ.get("ORCH_DOCKER_COMPOSE"), shutil.which("docker-compose")]
    places += [
        f"{directory}/docker-compose"
        for directory in ("/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins")
    ]
    for place in filter(None, places):
        with contextlib.suppress(OSError):
            found = subprocess.run([place, "version", "--short"], capture_output=True, text=True, check=False)
            if found.returncode == 0 and found.stdout.lstrip("v")[:1] >= "2":
                return [place]
    pytest.skip("no Docker Compose v2 on this machine")


def compose_config(directory: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "compose.yml").write_text(text)
    command = [*docker_compose(), "-f", str(directory / "compose.yml"), *arguments, "config"]
    env = {**os.environ, "DOCKER_HOST": "unix:///nowhere"}
    return subprocess.run([*command, "--format", "json"], capture_output=True, text=True, timeout=30, env=env)
