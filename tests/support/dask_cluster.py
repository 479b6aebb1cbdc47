"""A Dask cluster of real processes for tests: a scheduler, and workers that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class Nodes:
    """The process that all processes of clusters are forked from."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("dask_nodes.py")
        self._process = subprocess.Popen(
            [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, order: Mapping[str, Any]) -> tuple[int, str]:
        """Start a scheduler or a worker, and return its process id and its address when it is ready."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        made = json.loads(answer)
        assert made["pid"], Path(order["log"]).read_text()
        return made["pid"], made["address"]

    def close(self) -> None:
        """End all that was started."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Cluster:
    """A scheduler and its workers. What they print is in files in `root`.

    With `tls` every connection is encrypted; `variables` are those that a client then needs. `settings` are those of Dask's
    scheduler, such as `allowed_failures`: how many workers may die of one task before it is given up.
    """

    def __init__(self, nodes: Nodes, root: Path, *, tls: bool = False, **settings: Any) -> None:
        root.mkdir(exist_ok=True)
        self.root = root
        self.workers: dict[str, int] = {}
        self.started = 0
        self.variables: dict[str, str] = {}
        self._nodes = nodes
        self._common = {
            "root": str(root),
            "config": {f"distributed.scheduler.{key.replace('_', '-')}": value for key, value in settings.items()},
            "tls": self._certificates() if tls else {},
        }
        self.scheduler, self.address = self._start("scheduler", {"kind": "scheduler"}, os.environ)

    def _certificates(self) -> dict[str, str]:
        """Write those of `Security.temporary`, which a program with its own cluster would use, and return their places."""
        from distributed.security import Security

        made, places = Security.temporary(), {}
        for role in ("scheduler", "worker", "client"):
            for kind in ("cert", "key"):
                places[f"tls_{role}_{kind}"] = self._written(f"{role}-{kind}.pem", getattr(made, f"tls_{role}_{kind}"))
        places["tls_ca_file"] = self._written("ca.pem", made.tls_ca_file)
        of_config = {
            "CA_FILE": "tls_ca_file",
            "CLIENT__CERT": "tls_client_cert",
            "CLIENT__KEY": "tls_client_key",
        }
        self.variables = {f"DASK_DISTRIBUTED__COMM__TLS__{key}": places[name] for key, name in of_config.items()}
        return places

    def _written(self, name: str, text: Any) -> str:
        path = self.root / name
        path.write_text(str(text))
        return str(path)

    def _start(self, name: str, order: Mapping[str, Any], env: Mapping[str, str]) -> tuple[int, str]:
        return self._nodes.start({**self._common, **order, "env": dict(env), "log": str(self.root / f"{name}.log")})

    def worker(self, name: str, env: Mapping[str, str], threads: int = 4) -> None:
        """Start a worker process, and return when the scheduler knows it."""
        order = {"kind": "worker", "address": self.address, "name": name, "threads": threads}
        self.workers[name], _ = self._start(f"worker-{name}", order, env)
        self.started += 1

    def restart(self) -> None:
        """Kill the scheduler, and start another one at its address."""
        kill(self.scheduler)
        port = int(self.address.rpartition(":")[2])
        self.scheduler, self.address = self._start("scheduler-again", {"kind": "scheduler", "port": port}, os.environ)

    def end(self, *names: str) -> None:
        """Kill workers, and wait until they are gone."""
        for name in names:
            kill(self.workers.pop(name))

    def printed(self, name: str) -> str:
        """Return what a process of the cluster has printed."""
        return (self.root / f"{name}.log").read_text(errors="replace")


def kill(pid: int) -> None:
    """Kill a process of a cluster, and wait until it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        while True:
            os.kill(pid, 0)
            time.sleep(0.01)


@contextmanager
def cluster_nodes() -> Iterator[Nodes]:
    """Give what starts clusters; all their processes end with the context."""
    made = Nodes()
    try:
        yield made
    finally:
        made.close()
