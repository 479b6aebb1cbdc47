"""A program that forks the scheduler and the workers of a Dask cluster: each is a process, and none pays for the imports.

Reads a JSON object from each line of stdin, and answers with one: the process id and the address of the new process. All
of them end with this program, which ends with its stdin.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any

ENGINES = ("postgres", "mongo", "mysql", "sqlite")


async def scheduler(announce: Any, security: Any, *, port: int = 0, **given: Any) -> None:
    from distributed import Scheduler

    async with Scheduler(
        host="127.0.0.1",
        port=port,
        protocol="tls" if security else "tcp",
        dashboard=False,
        dashboard_address=":0",
        security=security,
    ) as made:
        announce(made.address)
        await made.finished()


async def worker(announce: Any, security: Any, *, address: str, name: str, threads: int, **given: Any) -> None:
    from distributed import Worker

    async with Worker(
        address, name=name, nthreads=threads, host="127.0.0.1", dashboard=False, security=security
    ) as made:
        announce(made.address)
        await made.finished()


def node(order: dict[str, Any], answer: int) -> None:
    """Be a scheduler or a worker until killed."""
    import dask
    from distributed.security import Security

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order.pop("log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    faulthandler.register(signal.SIGUSR1)  # where a node hangs
    os.chdir(order.pop("root"))
    os.environ.clear()
    os.environ.update(order.pop("env"))
    tls = order.pop("tls")
    security = Security(require_encryption=True, **tls) if tls else None
    dask.config.set(order.pop("config"))

    pid = os.getpid()

    def announce(address: str) -> None:
        nonlocal pid
        os.write(answer, json.dumps({"pid": pid, "address": address}).encode() + b"\n")
        pid = 0

    try:
        asyncio.run({"scheduler": scheduler, "worker": worker}[order.pop("kind")](announce, security, **order))
    finally:
        if pid:  # whoever waits for an answer gets one
            pid = 0
            announce("")


def main() -> None:
    for name in ("distributed", "orchestrator.operations.dask_worker", *(f"orchestrator.engines.{e}" for e in ENGINES)):
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    answer = os.dup(1)
    made = []
    for line in sys.stdin:
        if pid := os.fork():
            made.append(pid)
            continue
        os.close(0)
        try:
            node(json.loads(line), answer)
        except BaseException:  # noqa: BLE001 - it is in the log of this node
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(1)
    for pid in made:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
