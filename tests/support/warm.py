"""Runs of the installed `orch`, forked from a process that has imported everything: the same command, without its start-up.

As a module: `Warm` starts that process and asks it for runs. As a program: the process itself. A run has its own process
id, environment, directory, streams and signals. What a process settles before its first line of Python (encodings, time
zone) comes from the process that forks; `Warm.takes` tells which environments it can serve.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

BEFORE_PYTHON = ("PYTHON", "LANG", "LC_", "LD_", "TZ", "MALLOC")
"""Beginnings of the names of variables that count when a process starts."""


class Warm:
    """Forks runs of `orch` from a process that has imported everything."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._settled = _settled(environment)
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def takes(self, environment: Mapping[str, str]) -> bool:
        """Whether a run with this environment is the same as in a process of its own."""
        return _settled(environment) == self._settled

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
    ) -> tuple[int, int, str, str]:
        """Run `orch ARGUMENTS` and return its process id, exit code, stdout and stderr.

        Raises TimeoutExpired after `timeout` seconds; the run is killed then.
        """
        request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "environment": dict(environment)})
        answer, theirs = socket.socketpair()
        out, its_out = os.pipe()
        err, its_err = os.pipe()
        with tempfile.TemporaryFile() as text, theirs:
            text.write(request.encode())
            text.flush()
            socket.send_fds(self._socket, [b"."], [text.fileno(), theirs.fileno(), its_out, its_err])
        os.close(its_out)
        os.close(its_err)
        with answer, os.fdopen(out, "rb") as stdout, os.fdopen(err, "rb") as stderr:
            lines = answer.makefile("r")
            pid = int(lines.readline())
            said = _read(stdout.fileno(), stderr.fileno(), time.monotonic() + timeout)
            if said is None:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["orch", *arguments], timeout)
            return pid, int(lines.readline()), *said

    def close(self) -> None:
        """End the process; it ends when nobody can ask it any more."""
        self._socket.close()
        self._process.wait(30)


def _settled(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(BEFORE_PYTHON)}


def _read(out: int, err: int, until: float) -> tuple[str, str] | None:
    """Return all that comes from both pipes; None if they are not at their end in time."""
    parts: dict[int, list[bytes]] = {out: [], err: []}
    with selectors.DefaultSelector() as waiting:
        for number in parts:
            waiting.register(number, selectors.EVENT_READ)
        while waiting.get_map():
            ready = waiting.select(max(0.0, until - time.monotonic()))
            if not ready:
                return None
            for key, _ in ready:
                part = os.read(key.fd, 1 << 16)
                parts[key.fd].append(part)
                if not part:
                    waiting.unregister(key.fd)
    stdout, stderr = (b"".join(some).decode().replace("\r\n", "\n") for some in parts.values())
    return stdout, stderr


# ---------------------------------------------------------------- what happens in the process that forks


def _import_everything() -> None:
    import orchestrator

    for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
        if not module.name.endswith("__main__") and "pytest" not in module.name:
            with contextlib.suppress(ImportError):  # an extra that is not installed
                importlib.import_module(module.name)
    gc.freeze()  # collecting garbage in a fork would copy all of this


def _serve(requests: socket.socket) -> None:
    """Fork a run for each request; answer with its process id at once, and with its exit code when it has ended."""
    answers: dict[int, socket.socket] = {}
    ends, alarm = os.pipe()
    os.set_blocking(alarm, False)
    os.set_blocking(ends, False)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as waiting:
        waiting.register(requests, selectors.EVENT_READ)
        waiting.register(ends, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fd == ends:
                    with contextlib.suppress(BlockingIOError):
                        os.read(ends, 1 << 12)
                    _tell_ends(answers)
                    continue
                dot, numbers, *_ = socket.recv_fds(requests, 1, 4)
                if not dot:
                    return
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for number in (ends, alarm, requests.fileno(), numbers[1], *(a.fileno() for a in answers.values())):
                        os.close(number)
                    _become(*numbers)
                answers[pid] = socket.socket(fileno=numbers[1])
                answers[pid].sendall(f"{pid}\n".encode())
                for number in (numbers[0], *numbers[2:]):
                    os.close(number)


def _tell_ends(answers: dict[int, socket.socket]) -> None:
    while answers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with answers.pop(pid) as answer, contextlib.suppress(OSError):  # nobody waits for it any more
            answer.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(text: int, _answer: int, out: int, err: int) -> None:
    """Be `orch`, as the script that pip writes would be. Does not return."""
    request = json.loads(os.pread(text, os.fstat(text).st_size, 0))
    for number, place in ((out, 1), (err, 2)):
        os.dup2(number, place)
        os.close(number)
    os.close(text)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [str(Path(sys.executable).with_name("orch")), *request["arguments"]]
    from orchestrator.cli import main

    main()


if __name__ == "__main__":
    _import_everything()
    _serve(socket.socket(fileno=int(sys.argv[1])))
