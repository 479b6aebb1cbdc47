"""Real servers from wheels, without Docker and without root: for the demo, `orch dev` and tests.

`up` starts what does not run and returns once it can be used; the servers outlive the process that started them, and
their data outlives the servers. Everything is kept below one directory, the root (usually `.orch/`): one home for each
program, with its data, its log and a file with its password that only its user can read. Linux only: what runs is asked
of `/proc`, so no file can claim it wrongly. See `process.py` for how a server is found, started and stopped.

Environment: `ORCH_POSTGRES_BIN` (a `bin` directory), `ORCH_MONGOD_BIN` (a mongod), `ORCH_MONGO` (`mongod` or
`secantus`, forces the choice), `ORCH_MONGOD_TEST_COMMANDS=1` (failpoints).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from orchestrator.embedded import postgres
from orchestrator.embedded.home import Home, Server, exclusive
from orchestrator.embedded.process import PORTS, Program, described, ensure, find, stop
from orchestrator.engines import DIALECTS, dialect, load
from orchestrator.errors import OrchError, UsageError
from orchestrator.hints import Command, Hint

__all__ = ["Server", "down", "dsns", "environment", "is_address", "remove", "status", "up"]


_PROC = Path("/proc/self")


def up(root: Path, engines: Iterable[str], *, durable: bool = False) -> dict[str, Server]:
    """Start the servers that these engines need and do not run yet; return them by engine, ready to be used.

    An engine without a server, whose databases are files, needs none. Servers start side by side, with the data of the last
    time. `durable` gives
    PostgreSQL its own default durability (fsync); without it a power cut may cost the data, a killed process does not.
    MongoDB's durability is never lowered. Any number of processes may call this at once; they get the same servers.

    Raises UsageError for an engine that has no embedded server, OrchError when a server is not installed, does not
    start (with the end of its log) or runs without the durability that is asked for.
    """
    wanted = sorted(engine for engine in set(engines) if not (engine in DIALECTS and dialect(engine).embedded.files))
    if wanted and not _PROC.is_dir():
        raise OrchError(
            "the embedded servers need Linux: they are recognised by what /proc says",
            hint=Hint(
                "start servers of your own, for example with Docker (",
                Command("render", "compose"),
                "), and set the variables of the manifest",
            ),
        )
    with _told(root):
        base = _make_root(root)
        with exclusive(base):
            programs = {engine: _choose(engine, base) for engine in wanted}
            with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
                started = {
                    engine: pool.submit(ensure, program, Home(base / program.name), durable)
                    for engine, program in programs.items()
                }
            return {engine: future.result() for engine, future in started.items()}


def dsns(root: Path, engines: Iterable[str]) -> dict[str, str]:
    """Return the DSN template of each engine's databases, on servers that are started, or in files below the root.

    Raises what `up` does.
    """
    wanted = set(engines)
    found = {engine: server.dsn() for engine, server in up(root, wanted).items()}
    for engine in wanted - found.keys():
        with _told(root):
            (_make_root(root) / engine).mkdir(mode=0o700, exist_ok=True)
        found[engine] = dialect(engine).embedded.files.format(directory=root.name)
    return found


def down(root: Path) -> list[Server]:
    """Stop the servers of this root cleanly and return them; their data stays.

    Only processes whose command line names our data directory are touched. Raises OrchError when one will not end.
    """
    with _told(root):
        if not root.is_dir():
            return []
        with exclusive(root.resolve()):
            stopped = []
            for program, home in _homes(root):
                running = find(program, home)
                if running:
                    stopped.append(described(program, home, running))
                    stop(program, home, running)
            return stopped


def status(root: Path) -> list[Server]:
    """Return the servers of this root that run, without writing or starting anything.

    Raises OrchError when the root belongs to another user.
    """
    with _told(root):
        running = ((program, home, find(program, home)) for program, home in _homes(root))
        return [described(program, home, process) for program, home, process in running if process]


def remove(root: Path) -> None:
    """Stop the servers of this root and delete all of their data, also what had to be kept outside of it.

    Raises OrchError as `down` does.
    """
    down(root)
    with _told(root):
        for _, home in _homes(root):
            postgres.remove_shelter(home)
            shutil.rmtree(home.path)


def environment(servers: Mapping[str, Server] | Iterable[Server]) -> dict[str, str]:
    """Return the variables that the DSN templates of a manifest read, for what `up` or `status` returned.

    `POSTGRES_` and `MONGO_` `USER`, `PASSWORD`, `HOST` and `PORT`, and `POSTGRES_SSLMODE`. They hold the passwords.
    """
    variables: dict[str, str] = {}
    for server in servers.values() if isinstance(servers, Mapping) else servers:
        prefix = server.engine.upper()
        variables |= {
            f"{prefix}_USER": server.user,
            f"{prefix}_PASSWORD": server.password,
            f"{prefix}_HOST": server.host,
            f"{prefix}_PORT": str(server.port),
        }
        variables |= dialect(server.engine).embedded.variables
    return variables


def is_address(host: str, port: str) -> bool:
    """Whether a server at this address can be an embedded one."""
    return host == "127.0.0.1" and port.isdecimal() and int(port) in PORTS


def _homes(root: Path) -> Iterator[tuple[Program, Home]]:
    for program in (program for engine in DIALECTS for program in _programs(engine)):
        home = Home(root.resolve() / program.name)
        if home.path.is_dir():
            home.check_owner()
            yield program, home


def _make_root(root: Path) -> Path:
    if not root.is_dir():
        # A server that root may not run itself must be able to walk through; nobody else needs to.
        root.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    Home(root).check_owner()
    ignore = root / ".gitignore"
    if not ignore.exists() or not ignore.stat().st_size:  # one begun on a full disk is empty
        ignore.write_text("*\n")  # passwords are never committed
    return root.resolve()


def _choose(engine: str, root: Path) -> Program:
    """Which program serves an engine here: the forced one, the running one, the one with data, the best installed."""
    programs = _programs(engine)
    if not programs:
        raise UsageError(
            f"there is no embedded server for the engine '{engine}'",
            hint=f"those that have one are {', '.join(name for name in DIALECTS if _programs(name))}",
        )
    variable = f"ORCH_{engine.upper()}"
    if forced := os.environ.get(variable):
        for program in programs:
            if program.name == forced:
                return program
        names = [f"'{program.name}'" for program in programs]
        raise UsageError(f"{variable} is '{forced}'", hint=f"set it to {' or '.join(names)}, or not at all")
    for program in programs:
        if find(program, Home(root / program.name)):
            return program
    for program in programs:
        if (root / program.name / "data").exists() and program.installed():
            return program
    for program in programs:
        if program.installed():
            return program
    if len(programs) == 1:
        return programs[0]  # it says by itself what is missing
    raise OrchError(f"no {dialect(engine).title} server is installed here", hint="pip install 'dborch[embedded]'")


def _programs(engine: str) -> list[Program]:
    """Return the programs that can serve an engine, the best first."""
    return [load(place)() for place in dialect(engine).embedded.programs] if engine in DIALECTS else []


@contextmanager
def _told(root: Path) -> Iterator[None]:
    """Tell a user what the operating system refused, instead of showing a traceback."""
    try:
        yield
    except OSError as error:
        raise OrchError(
            f"the embedded servers in {root} cannot be used: {error.strerror or error}",
            detail=str(error.filename or ""),
            hint="the disk is full: make room, and try again"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "run as the user who made that directory, or choose another one",
        ) from error
