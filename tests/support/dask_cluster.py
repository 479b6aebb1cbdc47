"""A Dask cluster of real processes for tests: a scheduler, and workers that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_DASK = [sys.executable, "-m", "dask"]


class Cluster:
    """A scheduler and its workers. What they print is in files in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        place = root / "scheduler.json"
        arguments = [
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--dashboard-address",
            "127.0.0.1:0",
            "--scheduler-file",
            str(place),
        ]
        self.scheduler = self._start("scheduler", arguments, os.environ)
        self.address = ""
        until = time.monotonic() + 60
        while not self.address:
            assert self.scheduler.poll() is None, self.printed("scheduler")
            assert time.monotonic() < until, self.printed("scheduler")
            time.sleep(0.05)
            if place.exists() and (text := place.read_text()):
                self.address = json.loads(text)["address"]

    def _start(self, name: str, arguments: list[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (self.root / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [*_DASK, name.partition("-")[0], *arguments],
                cwd=self.root,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def worker(self, name: str, env: Mapping[str, str], threads: int = 4) -> subprocess.Popen[bytes]:
        """Start a worker process and return at once."""
        arguments = [self.address, "--host", "127.0.0.1", "--nthreads", str(threads), "--no-nanny", "--no-dashboard"]
        process = self._start(f"worker-{name}", [*arguments, "--name", name], env)
        self.workers[name] = process
        return process

    def end(self, *names: str) -> None:
        """Kill workers, and wait until they are gone."""
        for name in names:
            process = self.workers.pop(name)
            process.kill()
            process.wait()

    def printed(self, name: str) -> str:
        """Return what a process of the cluster has printed."""
        return (self.root / f"{name}.log").read_text(errors="replace")


@contextmanager
def cluster(root: Path) -> Iterator[Cluster]:
    """Give a cluster without workers; all its processes end with the context."""
    made = Cluster(root)
    try:
        yield made
    finally:
        made.end(*made.workers)
        made.scheduler.kill()
        made.scheduler.wait()
