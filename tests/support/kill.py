"""Runs of `orch` that end by SIGKILL at a chosen point, in processes forked from one that has imported everything.

As a module: `Forge` starts that process and asks it for runs. As a program: the process itself, which reads one request
a line and forks for each. Only here are engines and events wrapped; the product knows nothing of it. The points are every
event, and the moments before, while and after each call of a session.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orchestrator


@dataclass(frozen=True)
class Ended:
    """What a run gave. A killed one has no exit code; `points` are the labels of those it came past."""

    code: int | None
    output: str
    points: tuple[str, ...]


class Forge:
    """Forks runs of `orch`. A request takes no longer than the run itself: nothing is imported again."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(
        self,
        arguments: list[str],
        cwd: Path,
        env: Mapping[str, str],
        *,
        kill_at: int = 0,
        label: str = "",
        delay: float = 0.0,
        patches: Mapping[str, float] | None = None,
        stop: bool = False,
    ) -> Ended:
        """Run `orch ARGUMENTS`. It is killed `delay` seconds after its point `kill_at` (from 1; 0: never, -1: not counted).

        With a `label` only the points of that name count, as in "after MongoSession.execute". With `stop` it is not
        killed there but stopped, until somebody sends it SIGCONT.
        `patches` are module constants to change: `{"orchestrator.engines.mongo.lease.LEASE_SECONDS": 1}`.
        """
        assert self._process.stdin and self._process.stdout
        request = {"arguments": arguments, "cwd": str(cwd), "env": dict(env), "kill_at": kill_at}
        request |= {"label": label, "delay": delay, "patches": dict(patches or {}), "stop": stop}
        self._process.stdin.write(json.dumps(request) + "\n")
        reply = json.loads(self._process.stdout.readline())
        return Ended(reply["code"], reply["output"], tuple(reply["points"]))

    @contextlib.contextmanager
    def stopped(
        self, arguments: list[str], cwd: Path, env: Mapping[str, str], label: str, pid_of: Callable[[], int]
    ) -> Iterator[list[Ended]]:
        """Run `orch ARGUMENTS` and begin the context when it has stopped at this point; it goes on when the context ends.

        `pid_of` returns the id of its process, 0 as long as that is unknown. The list has the result after the context.
        """
        ended: list[Ended] = []

        def run() -> None:
            ended.append(self.run(arguments, cwd, env, kill_at=1, label=label, stop=True))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        pid, deadline = 0, time.monotonic() + 60
        while not (pid and "T (stopped)" in Path(f"/proc/{pid}/status").read_text()):
            assert time.monotonic() < deadline, ended
            pid = pid_of()
            time.sleep(0.02)
        try:
            yield ended
        finally:
            os.kill(pid, signal.SIGCONT)
            thread.join(120)

    def close(self) -> None:
        """End the process; it ends at the end of its input."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)


# ---------------------------------------------------------------- what happens in the forked process


class Points:
    """Counts what the run comes past, writes it down, and ends the process at one of them."""

    def __init__(self, log: str, kill_at: int, label: str, delay: float, *, stop: bool) -> None:
        self._end = _stop if stop else _die
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._kill_at = kill_at
        self._label = label
        self._delay = delay
        self._count = 0
        self._mutex = threading.Lock()

    def counts(self, call: str) -> bool:
        """Whether only the points of this call count."""
        return self._label.endswith(f" {call}")

    def __call__(self, label: str) -> None:
        with self._mutex:
            self._count += not self._label or label == self._label
            os.write(self._log, f"{label}\n".encode())
            if self._count == self._kill_at and (not self._label or label == self._label):
                if self._delay:
                    threading.Timer(self._delay, self._end).start()
                else:
                    self._end()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal may take a moment


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.05)


def _around(owner: Any, name: str, point: Points) -> None:
    original: Callable[..., Any] = getattr(owner, name)
    label = f"{getattr(owner, '__name__', owner)}.{name}"

    @functools.wraps(original)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        point(f"before {label}")
        result = original(*arguments, **options)
        point(f"after {label}")
        return result

    setattr(owner, name, wrapped)


def _around_context(owner: Any, name: str, point: Points) -> None:
    original: Callable[..., Any] = getattr(owner, name)
    label = f"{owner.__name__}.{name}"

    @contextlib.contextmanager
    def wrapped(*arguments: Any, **options: Any) -> Iterator[Any]:
        point(f"before {label}")
        with original(*arguments, **options) as value:
            point(f"inside {label}")
            yield value
            point(f"leaving {label}")
        point(f"after {label}")

    setattr(owner, name, wrapped)


def _while_sent(module: Any, point: Points) -> None:
    """The moment after a message went to PostgreSQL and before its answer is read."""
    original = module.execute

    def wrapped(pgconn: Any) -> Any:
        pgconn.flush()
        point("sent to PostgreSQL")
        return (yield from original(pgconn))

    module.execute = wrapped


def install(point: Points) -> None:
    """Wrap events, sessions and what they are made of."""
    from pymongo.synchronous.pool import Connection

    from orchestrator.cli import stage
    from orchestrator.engines.mongo import commit as mongo_commit
    from orchestrator.engines.mongo.commands import Commands
    from orchestrator.engines.mongo.lease import Lease
    from orchestrator.engines.mongo.records import Records as MongoRecords
    from orchestrator.engines.mongo.session import MongoSession
    from orchestrator.engines.mysql import connection as mysql_connection
    from orchestrator.engines.mysql import session as mysql_session
    from orchestrator.engines.mysql.intents import Intents
    from orchestrator.engines.mysql.lock import NamedLock
    from orchestrator.engines.mysql.record_writer import RecordWriter
    from orchestrator.engines.mysql.store import Store
    from orchestrator.engines.mysql.wire import Wire as MysqlWire
    from orchestrator.engines.postgres import engine as postgres
    from orchestrator.engines.postgres import session as postgres_session
    from orchestrator.engines.postgres import wire
    from orchestrator.engines.sqlite.connections import Connections
    from orchestrator.engines.sqlite.lock import FileLock
    from orchestrator.engines.sqlite.records import Records
    from orchestrator.engines.sqlite.session import SqliteSession

    emit = stage.Broadcast.__call__

    def broadcast(self: stage.Broadcast, event: Any) -> None:
        emit(self, event)
        point(f"event {type(event).__name__}")

    stage.Broadcast.__call__ = broadcast  # type: ignore[method-assign]
    for name in ("read_history", "prepare", "commit", "execute", "probe"):
        _around(postgres_session.PostgresSession, name, point)
        if name != "prepare":
            _around(MongoSession, name, point)
    _around(postgres.Postgres, "create", point)
    _around_context(postgres_session.PostgresSession, "lock", point)
    _around_context(MongoSession, "lock", point)
    _while_sent(wire, point)
    _around(MongoSession, "_renew", point)
    _around(mongo_commit, "commit_transaction", point)
    for name in ("create_store", "upsert", "point"):
        _around(MongoRecords, name, point)
    _around(Commands, "run", point)
    _around(Lease, "_try", point)
    if point.counts("Connection.command"):  # of every few milliseconds, so only where they are asked for
        _around(Connection, "command", point)
    for name in ("read_history", "commit", "execute", "probe", "_renew"):
        _around(SqliteSession, name, point)
    for name in ("begin", "run"):
        _around(Connections, name, point)
    for name in ("read_history", "commit", "begin", "execute", "probe"):
        _around(mysql_session.MysqlSession, name, point)
    _around(Intents, "recorded_with", point)
    _around(MysqlWire, "run", point)
    _around(Store, "get_ready", point)
    for name in ("commit", "end"):
        _around(RecordWriter, name, point)
    # After it, a message is sent and not answered: the server goes on with all of its statements.
    _around(mysql_connection.OurConnection, "_execute_command", point)
    _around_context(NamedLock, "taken", point)
    _around(Records, "write", point)
    _around_context(FileLock, "held", point)


def _child(request: dict[str, Any], output: str, log: str) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["orch", *request["arguments"]]
    for name, value in request["patches"].items():
        module, _, attribute = name.rpartition(".")
        setattr(sys.modules[module], attribute, value)
    if request["kill_at"] >= 0:
        install(Points(log, request["kill_at"], request["label"], request["delay"], stop=request["stop"]))
    from orchestrator.cli import main

    main()


def _serve() -> None:
    # All that a run could import, so that a fork has it already. No connection is open and no thread runs here.
    for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
        if not module.name.endswith(("__main__", "pytest_plugin")):
            importlib.import_module(module.name)
    gc.freeze()  # collecting garbage in a fork would copy all of this
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            output, log = f"{folder}/output", f"{folder}/points"
            pid = os.fork()
            if not pid:
                try:
                    _child(request, output, log)
                finally:
                    os._exit(70)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            texts = [Path(p).read_text() if Path(p).exists() else "" for p in (output, log)]
        reply = {
            "code": None if status == -signal.SIGKILL else status,
            "output": texts[0],
            "points": texts[1].split("\n")[:-1],
        }
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
