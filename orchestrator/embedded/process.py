"""Find, start, wait for and stop server processes, even after a kill at any moment.

Three facts carry it. A server runs if a process in `/proc` has our data directory and its port on its command line: no
pid file that could be stale is believed. A server holds the lock on its home's `claim` file, which it inherits, for as
long as any of its processes lives: nobody starts a second one on the same data. And its record (password, port) is
written before its data exists, its pid only once it was seen ready: whoever is killed on the way, the next one goes on.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

from orchestrator.embedded.home import HOST, POLL_SECONDS, USER, ClaimedError, Home, Server, write_private
from orchestrator.errors import OrchError
from orchestrator.hints import Command, Hint

_NOT_DURABLE = {"fsync=off": "PostgreSQL", "--innodb-flush-method=nosync": "MariaDB or MySQL"}
START_SECONDS = 60.0
"""How long a server may take to be ready; a crash recovery takes longer than a start."""
_STOP_SECONDS = 30.0
"""How long a clean stop may take before the hard one."""
_NEEDED_BYTES = 64_000_000
"""A new PostgreSQL cluster takes 40 MB, and more than that is needed to start one. Nothing starts with less."""
PORTS = range(20_000, 27_000)
"""Below those that Linux gives to outgoing connections (32768 on; ip(7)): one of them would take a stopped server's."""

# Servers started by this very process; kept so that one that ends does not stay as a zombie.
_children: dict[int, subprocess.Popen[bytes]] = {}


class Running(NamedTuple):
    """A server process as `/proc` shows it."""

    pid: int
    port: int
    arguments: tuple[str, ...]


class Program(Protocol):
    """A server program that we know how to run. Its name is also the name of its home below the root."""

    engine: str
    name: str
    data_option: str
    port_option: str
    signals: tuple[signal.Signals, signal.Signals]
    """The signal for a clean stop, and the one that follows if that takes too long."""
    needs_nudge: bool
    """Whether it notices a signal only when the next client connects."""

    def installed(self) -> bool:
        """Return whether the program is here and can be run."""
        ...

    def serve(self, home: Home, running: Running | None, durable: bool) -> tuple[Running, str]:
        """Start it unless it runs, wait until it can be used, and return the process and the product's name."""
        ...


class StartError(OrchError):
    """A server ended while it was being started. The detail holds the last lines of its log."""


def described(program: Program, home: Home, running: Running) -> Server:
    """Return the record of a running server: its address, login and process."""
    record = home.read()
    product = record.product or program.name
    return Server(program.engine, product, HOST, running.port, USER, record.password, running.pid, data=home.data)


def ensure(program: Program, home: Home, durable: bool) -> Server:
    """Return the program's server in this home, started if need be. The caller holds the root's lock.

    Raises OrchError when it does not start.
    """
    home.make()
    running = find(program, home)
    if running and home.read().pid == running.pid:
        _check_durable(running, durable)
        return described(program, home, running)
    try:
        running, product = program.serve(home, running, durable)
    except StartError:
        # Somebody may have taken the port between our choice and the server's: once more, on another one.
        home.write(replace(home.read(), port=0))
        running, product = program.serve(home, None, durable)
    except ClaimedError:
        # A server whose starter was killed has no command line of its own for a moment: then we could not find it.
        running = find(program, home)
        if running is None:
            raise
        running, product = program.serve(home, running, durable)
    _check_durable(running, durable)
    home.write(replace(home.read(), pid=running.pid, port=running.port, product=product))
    return described(program, home, running)


def find(program: Program, home: Home) -> Running | None:
    """Return the process that serves this home. A zombie has no command line, so it is never one.

    A server whose directory was deleted under it may live on with the same path on its command line: it was started
    before this home launched any.
    """
    data, launched = home.data, home.launched()
    wanted = ["", program.data_option, str(data), program.port_option, ""]
    mark = "\0".join(wanted).encode()
    found = {pid: line for pid, line in command_lines() if mark in line}
    for pid, line in found.items():
        # A PostgreSQL child shows its parent's command line until it has set its own. And anybody can write anything
        # on a command line, but only we and the owner of the data can be its server.
        with contextlib.suppress(OSError):
            owner = Path(f"/proc/{pid}").stat().st_uid
            ours = owner in (os.geteuid(), data.stat().st_uid) and _started(pid) >= launched
            if ours and not _is_killed(pid) and _parent(pid) not in found:
                arguments = tuple(os.fsdecode(part) for part in line.split(b"\0"))
                return Running(pid, int(arguments[arguments.index(program.port_option) + 1]), arguments)
    return None


def command_lines() -> Iterator[tuple[int, bytes]]:
    """Yield every process with its command line, parts separated by NUL."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                yield int(entry.name), (entry / "cmdline").read_bytes()


def has_living_parent(pid: int, data: Path) -> bool:
    """Return whether the process's parent has this data directory on its command line and is not being killed."""
    parent = _parent(pid)
    with contextlib.suppress(OSError):
        line = Path(f"/proc/{parent}/cmdline").read_bytes()
        return os.fsencode(data) in line.split(b"\0") and not _is_killed(parent)
    return False


def launch(
    program: Program,
    home: Home,
    executable: Sequence[str | Path],
    options: Sequence[str],
    *,
    uid: int | None = None,
    gid: int | None = None,
    stale: Path | None = None,
) -> Running:
    """Start a server in a session of its own and return it at once.

    As root, `uid` and `gid` are who it runs as. `stale` is a file of the last run to remove: only once the data is
    ours, because a running PostgreSQL that misses its pid file ends itself. Raises OrchError when the program cannot be
    run, ClaimedError when processes of a former server do not let go of the data.
    """
    with home.claim() as claim:  # once it is ours, a former server's port is free, too
        if stale:
            stale.unlink(missing_ok=True)
        record = home.read()
        port = free_port(record.port)
        home.write(replace(record, pid=0, port=port))
        # The order in which `find` looks for them.
        command = [*map(str, executable), program.data_option, str(home.data), program.port_option, str(port), *options]
        if home.log.exists():
            home.log.replace(home.path / "log.old")
        write_private(home.log, "")
        os.truncate(claim, 0)
        os.write(claim, str(_now()).encode())
        try:
            with home.log.open("ab") as log:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env=plain_environment(),
                    start_new_session=True,
                    pass_fds=[claim],
                    user=uid,
                    group=gid,
                    extra_groups=None if uid is None else [],
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise OrchError(f"{command[0]} cannot be run", detail=str(error)) from error
    _children[process.pid] = process
    return Running(process.pid, port, tuple(command))


def free_port(wished: int = 0) -> int:
    """Return the port of the last time if it is free, so that what was noted down stays true; else one of PORTS.

    Raises OrchError when none is free.
    """
    others = random.SystemRandom().sample(PORTS, 100)  # whoever has seeded the other one, a test perhaps
    for port in [wished, *others] if wished else others:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise OrchError(f"no port is free on {HOST}")


def wait(program: Program, home: Home, running: Running, ready: Callable[[], bool]) -> None:
    """Wait until a server is ready.

    Raises StartError when it ends instead, OrchError when it takes longer than START_SECONDS; then it is stopped.
    """
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if not alive(running.pid):
            said = _tail(home.log)
            raise StartError(
                f"the {program.name} server ended while it was being started", detail=said, hint=hint_on_room(home.path)
            )
        if time.monotonic() > deadline:
            stop(program, home, running)
            raise OrchError(
                f"the {program.name} server was not ready after {START_SECONDS:.0f} s", detail=_tail(home.log)
            )
        time.sleep(POLL_SECONDS)


def hint_on_room(place: Path) -> str:
    """Return the next step if the disk of this directory has too little room for a server, else an empty text.

    The disk itself is asked: a server's log can hold any words.
    """
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(place).free
        if free < _NEEDED_BYTES:
            return f"the disk is full ({free / 1e6:.0f} MB are free for {place}): make room, and try again"
    return ""


def stop(program: Program, home: Home, running: Running) -> None:
    """Stop a server and wait until it is gone. Raises OrchError when it stays."""
    for number, seconds in zip(program.signals, (_STOP_SECONDS, 10.0), strict=True):
        _signal(running.pid, number)
        signalled = time.monotonic()
        deadline = signalled + seconds
        while time.monotonic() < deadline:
            if not alive(running.pid):
                return
            # While it takes connections it has not begun to stop; Python can miss a signal that comes at a bad moment.
            if program.needs_nudge and _knock(running.port) and time.monotonic() > signalled + 1:
                _signal(running.pid, number)
                signalled = time.monotonic()
            time.sleep(POLL_SECONDS)
    raise OrchError(f"the {program.name} server, process {running.pid}, does not end", detail=_tail(home.log))


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _knock(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=0.1).close()
    except OSError:
        return False
    return True


def alive(pid: int) -> bool:
    """Return whether a process runs. A zombie does not; if it is our own child, it is reaped.

    A process whose first thread is a zombie holds its port and its files until its last thread has ended.
    """
    child = _children.get(pid)
    if child and child.poll() is not None:
        del _children[pid]
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        return state not in "ZX" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return False


def plain_environment() -> dict[str, str]:
    """Return the environment of a server: a few variables of ours, without secrets and PG* settings."""
    kept = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "TZ")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C.UTF-8"}


def _now() -> int:
    """Return the clock ticks since boot, as the kernel counts when a process was started."""
    return int(float(Path("/proc/uptime").read_text().split()[0]) * os.sysconf("SC_CLK_TCK"))


def _is_killed(pid: int) -> bool:
    """Return whether a process is about to end by SIGKILL: it may look alive for a moment, but serves no client."""
    status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    pending = re.findall(r"^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)", status, re.MULTILINE)
    return any(int(mask, 16) & 1 << (signal.SIGKILL - 1) for mask in pending)


def _started(pid: int) -> int:
    """Return when a process was started, in clock ticks since boot; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except OSError:
        return 0


def _check_durable(running: Running, durable: bool) -> None:
    for argument, name in _NOT_DURABLE.items():
        if durable and argument in running.arguments:
            raise OrchError(
                f"the embedded {name} server already runs without fsync",
                hint=Hint("stop it first: ", Command("dev", "down")),
            )


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-10:]
    return "\n".join([*(line[:300] for line in lines), f"(all of it: {log})"])
