"""The care of server processes: found, started, waited for and stopped, whatever was killed in between.

Three facts carry it. A server runs if a process in `/proc` has our data directory and its port on its command line: no
pid file that could be stale is believed. A server holds the lock on its home's `claim` file, which it inherits, for as
long as any of its processes lives: nobody starts a second one on the same data. And its record (password, port) is
written before its data exists, its pid only once it was seen ready: whoever is killed on the way, the next one goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote

from orchestrator.errors import OrchError

HOST = "127.0.0.1"
USER = "orch"
START_SECONDS = 60.0
"""How long a server may take to be ready; a crash recovery takes longer than a start."""
STOP_SECONDS = 30.0
"""How long a clean stop may take before the hard one."""
LOCK_SECONDS = 180.0
"""How long to wait for another `up` or `down` of the same root."""
_POLL_SECONDS = 0.01
_PORTS = range(20_000, 27_000)
"""Below those that Linux gives to outgoing connections (32768 on; ip(7)): one of them would take a stopped server's."""

# Servers started by this very process; kept so that one that ends does not stay as a zombie.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: how to reach it, which process it is, and where its data is."""

    engine: str
    product: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    pid: int
    data: Path

    def dsn(self, database: str = "{database}") -> str:
        """Return the DSN of a database, or by default a template with `{database}`. It holds the password."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@{self.host}:{self.port}"
        name = quote(database, safe="{}")
        if self.engine == "postgres":
            return f"postgres://{login}/{name}?sslmode=disable"
        # Both MongoDB programs call themselves a replica set of one member: talk to it, look for no others.
        return f"mongodb://{login}/{name}?authSource=admin&directConnection=true"


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a server between runs.

    `pid` is set once it was ready. `prepared` is the port that a MongoDB server was set up for, with its user; 0: none.
    """

    password: str = field(repr=False)
    port: int = 0
    pid: int = 0
    product: str = ""
    prepared: int = 0


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
    """The clean stop, and the hard one that follows when it takes too long."""
    needs_nudge: bool
    """Whether it notices a signal only when the next client knocks."""

    def installed(self) -> bool:
        """Return whether the program is here and can be run."""
        ...

    def serve(self, home: Home, running: Running | None, durable: bool) -> tuple[Running, str]:
        """Start it unless it runs, wait until it can be used, and return the process and the product's name."""
        ...


class StartError(OrchError):
    """A server ended while it was being started. The detail holds the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Home:
    """The directory of one server: `data` (perhaps a link), `log`, `claim`, and `server.json` with its record."""

    path: Path

    @property
    def data(self) -> Path:
        """The data directory, without links: the name that stands on the server's command line."""
        return (self.path / "data").resolve()

    @property
    def log(self) -> Path:
        """What the server says; the file of the run before is `log.old`."""
        return self.path / "log"

    def make(self) -> None:
        """Make the directory and its first record, with a random password, if they are not there.

        Raises OrchError when there is data whose password is lost.
        """
        self.path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
        self.check_owner()
        if not self._file.exists():
            if (self.path / "data").exists():
                raise OrchError(f"the password of the data in {self.path} is lost", hint=f"rm -r '{self.path}'")
            self.write(Record(password=secrets.token_urlsafe(24)))

    def check_owner(self) -> None:
        """Raise OrchError unless the directory belongs to the user who runs us; mixed owners lock each other out."""
        if self.path.stat().st_uid != os.geteuid():
            raise OrchError(
                f"{self.path} belongs to another user",
                hint="run as that user, or choose another directory for the embedded servers",
            )

    def read(self) -> Record:
        """Return the record. Raises OrchError when it cannot be read."""
        try:
            return Record(**json.loads(self._file.read_text()))
        except (ValueError, TypeError, FileNotFoundError) as error:
            raise OrchError(f"{self._file} is damaged", detail=str(error), hint=f"rm -r '{self.path}'") from error

    def write(self, record: Record) -> None:
        """Replace the record, whole or not at all."""
        write_private(self.path / "server.json.new", json.dumps(asdict(record))).replace(self._file)

    def server(self, program: Program, running: Running) -> Server:
        """Describe a running server."""
        record = self.read()
        product = record.product or program.name
        return Server(program.engine, product, HOST, running.port, USER, record.password, running.pid, data=self.data)

    @property
    def _file(self) -> Path:
        return self.path / "server.json"


def ensure(program: Program, home: Home, durable: bool) -> Server:
    """Return the program's server in this home, started if need be. The caller holds the root's lock.

    Raises OrchError when it does not start.
    """
    home.make()
    running = find(program, home)
    if running and home.read().pid == running.pid:
        _check_durable(running, durable)
        return home.server(program, running)
    try:
        running, product = program.serve(home, running, durable)
    except StartError:
        # Somebody may have taken the port between our choice and the server's: once more, on another one.
        home.write(replace(home.read(), port=0))
        running, product = program.serve(home, None, durable)
    _check_durable(running, durable)
    home.write(replace(home.read(), pid=running.pid, port=running.port, product=product))
    return home.server(program, running)


def find(program: Program, home: Home) -> Running | None:
    """Return the process that serves this home. A zombie has no command line, so it is never one.

    A server whose directory was deleted under it may live on with the same path on its command line: it was started
    before this home launched any.
    """
    data, launched = home.data, _launched(home)
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


def launch(
    program: Program,
    home: Home,
    executable: Sequence[str | Path],
    options: Sequence[str],
    *,
    uid: int | None = None,
    gid: int | None = None,
) -> Running:
    """Start a server in a session of its own and return it at once.

    As root, `uid` and `gid` are who it runs as. Raises OrchError when the program cannot be run, or when processes of
    a former server do not let go of the data.
    """
    with _claim(home) as claim:  # once it is ours, a former server's port is free, too
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
    """Return the port of the last time if it is free, so that what was noted down stays true; else one of _PORTS.

    Raises OrchError when none is free.
    """
    others = random.SystemRandom().sample(_PORTS, 100)  # whoever has seeded the other one, a test perhaps
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
                f"the {program.name} server ended while it was being started", detail=said, hint=hint_on(said)
            )
        if time.monotonic() > deadline:
            stop(program, home, running)
            raise OrchError(
                f"the {program.name} server was not ready after {START_SECONDS:.0f} s", detail=_tail(home.log)
            )
        time.sleep(_POLL_SECONDS)


def hint_on(said: str) -> str:
    """Return the next step where what was said makes it plain, else an empty text."""
    full = re.search(r"no space left|free disk space|disk quota exceeded", said, re.IGNORECASE)
    return "the disk is full: make room, and try again" if full else ""


def stop(program: Program, home: Home, running: Running) -> None:
    """Stop a server and wait until it is gone. Raises OrchError when it stays."""
    for number, seconds in zip(program.signals, (STOP_SECONDS, 10.0), strict=True):
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
            time.sleep(_POLL_SECONDS)
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
    """Return whether a process runs. A zombie does not; if it is our own child, it is laid to rest.

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


@contextlib.contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Be the only one who starts or stops servers of this root; the kernel lets go if we are killed.

    Raises OrchError after LOCK_SECONDS.
    """
    with _flock(root / "lock", LOCK_SECONDS, f"another process is busy with the embedded servers in {root}"):
        yield


def write_private(path: Path, text: str) -> Path:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path


def plain_environment() -> dict[str, str]:
    """Return the environment of a server: not ours, whose secrets and PG* settings are none of its business."""
    kept = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "TZ")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C.UTF-8"}


def _launched(home: Home) -> float:
    """Return when this home's server was last launched, in clock ticks since boot; infinity if it never was."""
    try:
        return float((home.path / "claim").read_text())
    except (OSError, ValueError):
        return math.inf


def _now() -> int:
    """Return the clock ticks since boot, as the kernel counts when a process was started."""
    return int(float(Path("/proc/uptime").read_text().split()[0]) * os.sysconf("SC_CLK_TCK"))


def _is_killed(pid: int) -> bool:
    """Return whether SIGKILL is on its way to a process: it may look alive for a moment, and serves nobody any more."""
    status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    pending = re.findall(r"^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)", status, re.MULTILINE)
    return any(int(mask, 16) & 1 << (signal.SIGKILL - 1) for mask in pending)


def _started(pid: int) -> int:
    """Return when a process was started, in clock ticks since boot; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except OSError:
        return 0


def _claim(home: Home) -> contextlib.AbstractContextManager[int]:
    # A killed server's last processes take a moment to go, and their data must not be touched before.
    return _flock(home.path / "claim", 10.0, f"processes of a former server still use {home.data}")


@contextlib.contextmanager
def _flock(path: Path, seconds: float, refusal: str) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OrchError(refusal, hint="wait for it, or see who holds it: fuser -v " + str(path)) from None
                time.sleep(_POLL_SECONDS)
        yield handle
    finally:
        os.close(handle)


def _check_durable(running: Running, durable: bool) -> None:
    if durable and "fsync=off" in running.arguments:
        raise OrchError(
            "the embedded PostgreSQL server already runs without fsync", hint="stop it first: orch dev down"
        )


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-10:]
    return "\n".join([*(line[:300] for line in lines), f"(all of it: {log})"])
