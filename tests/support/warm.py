"""Runs of the installed `orch`, forked from a process that has imported everything: the same command, without its start-up.

As a module: `Warm` starts that process and asks it for runs, and `Forked` is such a run with all that `Popen` offers. As
a program: the process itself. A run has its own process id, environment, directory, streams and signals. What a process
settles before its first line of Python (encodings, time zone) comes from the process that forks; `Warm.takes` tells which
environments it can serve.
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
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_NUMBER = struct.Struct("i")

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

    def fork(
        self,
        arguments: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        streams: Sequence[int],
        patches: Mapping[str, float] | None = None,
    ) -> tuple[int, socket.socket]:
        """Begin to run `orch ARGUMENTS` with these descriptors as stdin, stdout and stderr.

        `patches` are module constants to change, as in kill.py. Return its process id, and the socket on which its wait
        status comes when it has ended.
        """
        facts = {"arguments": list(arguments), "cwd": str(cwd), "environment": dict(environment)}
        request = json.dumps({**facts, "patches": dict(patches or {})})
        answer, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as text, theirs:
            text.write(request.encode())
            text.flush()
            socket.send_fds(self._socket, [b"."], [text.fileno(), theirs.fileno(), *streams])
        return _NUMBER.unpack(answer.recv(_NUMBER.size, socket.MSG_WAITALL))[0], answer

    def run(
        self,
        arguments: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        timeout: float,
        patches: Mapping[str, float] | None = None,
    ) -> tuple[int, int, str, str]:
        """Run `orch ARGUMENTS` and return its process id, exit code, stdout and stderr.

        Raises TimeoutExpired after `timeout` seconds; the run is killed then.
        """
        out, its_out = os.pipe()
        err, its_err = os.pipe()
        with open(os.devnull) as nothing:
            pid, answer = self.fork(arguments, cwd, environment, (nothing.fileno(), its_out, its_err), patches)
        os.close(its_out)
        os.close(its_err)
        with answer, os.fdopen(out, "rb") as stdout, os.fdopen(err, "rb") as stderr:
            said = _read(stdout.fileno(), stderr.fileno(), time.monotonic() + timeout)
            if said is None:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["orch", *arguments], timeout)
            (status,) = _NUMBER.unpack(answer.recv(_NUMBER.size, socket.MSG_WAITALL))
            return pid, os.waitstatus_to_exitcode(status), *said

    def close(self) -> None:
        """End the process; it ends when nobody can ask it any more."""
        self._socket.close()
        self._process.wait(30)


class Forked(subprocess.Popen[Any]):
    """A run of `orch` that a warm process forks. All three streams must be given."""

    def __init__(
        self,
        warm: Warm,
        arguments: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        patches: Mapping[str, float] | None = None,
        **streams: Any,
    ) -> None:
        self._warm, self._patches = warm, patches
        super().__init__(["orch", *arguments], cwd=cwd, env=env, **streams)

    def _execute_child(self, args: list[str], *settings: Any) -> None:
        """Ask the warm process to fork where Popen would fork. The pipes exist already; `settings` are Popen's, in its order."""
        cwd, env, pipes = settings[4], settings[5], settings[9:15]
        self.pid, self._answer = self._warm.fork(args[1:], cwd, env, (pipes[0], pipes[3], pipes[5]), self._patches)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _try_wait(self, flags: int) -> tuple[int, int]:
        """Return the process id and its wait status; 0 and 0 while it runs, if it is not to be waited for."""
        how = socket.MSG_DONTWAIT if flags & os.WNOHANG else socket.MSG_WAITALL
        with contextlib.suppress(BlockingIOError):
            status = _NUMBER.unpack(self._answer.recv(_NUMBER.size, how))[0]
            self._answer.close()
            return self.pid, status
        return 0, 0

    def _internal_poll(self, *_state: Any, **_more: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):  # type: ignore[attr-defined]
            try:
                pid, status = self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


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
                dot, numbers, *_ = socket.recv_fds(requests, 1, 5)
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
                answers[pid].sendall(_NUMBER.pack(pid))
                for number in (numbers[0], *numbers[2:]):
                    os.close(number)


def _tell_ends(answers: dict[int, socket.socket]) -> None:
    while answers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with answers.pop(pid) as answer, contextlib.suppress(OSError):  # nobody waits for it any more
            answer.sendall(_NUMBER.pack(status))


def _become(text: int, _answer: int, *streams: int) -> None:
    """Be `orch`, as the script that pip writes would be. Does not return."""
    request = json.loads(os.pread(text, os.fstat(text).st_size, 0))
    for place, number in enumerate(streams):
        os.dup2(number, place)
        os.close(number)
    os.close(text)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for name, value in request["patches"].items():
        module, _, attribute = name.rpartition(".")
        setattr(sys.modules[module], attribute, value)
    sys.argv = [str(Path(sys.executable).with_name("orch")), *request["arguments"]]
    from orchestrator.cli import main

    main()


if __name__ == "__main__":
    _import_everything()
    _serve(socket.socket(fileno=int(sys.argv[1])))
