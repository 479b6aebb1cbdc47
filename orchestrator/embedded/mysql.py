"""MariaDB or MySQL as it is installed here: no wheel has one. `ORCH_MYSQLD_BIN` names the program, else PATH does.

The data of MariaDB is made by its bootstrap mode from the SQL that comes with it, which takes half a second; MySQL makes its
own. Nobody can log in but our user, from 127.0.0.1, with the password of the home: the server makes it at every start.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from orchestrator.embedded.home import HOST, USER, Home, write_private
from orchestrator.embedded.process import START_SECONDS, Running, hint_on_room, launch, plain_environment, wait
from orchestrator.errors import OrchError

_NAMES = ("mariadbd", "mysqld")
_PLACES = ("/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/local/mysql/bin", "/opt/mysql/bin")
_SCRIPTS = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")
_SYSTEM = ("create database mysql;\n", "use mysql;\n")
# "loose": a product or release that does not know the option starts all the same.
_SMALL = (
    "--loose-innodb-log-file-size=8M",
    "--loose-innodb-redo-log-capacity=8M",
    "--innodb-buffer-pool-size=64M",
)
_HINT = "install one (apt-get install mariadb-server-core), or set ORCH_MYSQLD_BIN to its mariadbd or mysqld"


class Mysql:
    """The server of MariaDB or MySQL."""

    engine = "mysql"
    name = "mysql"
    data_option = "-h"
    port_option = "-P"
    signals = (signal.SIGTERM, signal.SIGKILL)  # InnoDB recovers at the next start
    needs_nudge = False

    def installed(self) -> bool:
        """Return whether a server is here."""
        try:
            _binary()
        except OrchError:
            return False
        return True

    def serve(self, home: Home, running: Running | None, durable: bool) -> tuple[Running, str]:
        """Make the data if there is none, start the server unless it runs, and wait until it takes connections."""
        binary = _binary()
        product, is_maria = _product(binary)
        if running is None:
            if not home.data.exists():
                _initialise(home, binary, is_maria)
            settings = [*_common(binary, is_maria), *_SMALL, f"--bind-address={HOST}", "--skip-name-resolve"]
            settings += ["--max-connections=500", "--character-set-server=utf8mb4", "--performance-schema=OFF"]
            settings += [f"--init-file={_logins(home)}", "--pid-file=server.pid", "--socket=server.sock"]
            settings += ["--skip-log-bin"] + ([] if is_maria else ["--mysqlx=OFF", "--secure-file-priv="])
            if not durable:  # survives a killed process, not a power cut
                settings += [
                    "--innodb-flush-log-at-trx-commit=2",
                    "--innodb-flush-method=nosync",
                    "--loose-debug-no-sync",
                ]
            running = launch(self, home, [binary, "--no-defaults"], settings)
        port = running.port
        wait(self, home, running, lambda: _greets(port))
        return running, product


def _binary() -> Path:
    if chosen := os.environ.get("ORCH_MYSQLD_BIN"):
        if not os.access(chosen, os.X_OK) or Path(chosen).is_dir():
            raise OrchError(
                f"ORCH_MYSQLD_BIN is '{chosen}', which is no program", hint="set it to a mariadbd or mysqld"
            )
        return Path(chosen).absolute()
    path = os.pathsep.join([os.environ.get("PATH", ""), *_PLACES])  # its place is seldom on the PATH of a user
    for name in _NAMES:
        if found := shutil.which(name, path=path):
            return Path(found).resolve()
    raise OrchError("there is no MariaDB or MySQL server here to start", hint=_HINT)


def _product(binary: Path) -> tuple[str, bool]:
    """Return name and version of a server, and whether it is MariaDB."""
    try:
        output = subprocess.run(
            [binary, "--no-defaults", "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            env=plain_environment(),
            check=False,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise OrchError(f"{binary} cannot be run", detail=str(error), hint=_HINT) from None
    version = re.search(r"Ver ([0-9.]+)", output)
    is_maria = "mariadb" in output.lower()
    return f"{'MariaDB' if is_maria else 'MySQL'} {version[1] if version else ''}".strip(), is_maria


def _common(binary: Path, is_maria: bool) -> list[str]:
    """Return what both the bootstrap and the server need to be told."""
    options = [f"--basedir={binary.parent.parent}"]
    if is_maria:
        options += [f"--lc-messages-dir={_share(binary)}"]
    return options + (["--user=root"] if os.geteuid() == 0 else [])  # else it would not run for root


def _share(binary: Path) -> Path:
    """Return the directory with the SQL and the messages of MariaDB."""
    for place in (
        binary.parent.parent / "share" / "mysql",
        binary.parent.parent / "share" / "mariadb",
        Path("/usr/share/mysql"),
    ):
        if (place / _SCRIPTS[0]).is_file():
            return place
    raise OrchError(f"{binary} has no {_SCRIPTS[0]} to make its first files of", hint=_HINT)


def _logins(home: Home) -> Path:
    """Write down the one login that there is; the server reads it at every start."""
    user, password = f"'{USER}'@'{HOST}'", home.read().password
    lines = [
        f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{password}';",
        f"GRANT ALL PRIVILEGES ON *.* TO {user} WITH GRANT OPTION;",
        "DROP USER IF EXISTS 'root'@'localhost', 'root'@'127.0.0.1', 'root'@'::1';",
    ]
    return write_private(home.path / "logins.sql", "\n".join(lines) + "\n")


def _initialise(home: Home, binary: Path, is_maria: bool) -> None:
    """Make the first files beside their place and move them there when they are whole."""
    for leftover in home.path.glob("new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix="new-", dir=home.path))
    new = work / "data"
    new.mkdir(mode=0o700)
    command = [str(binary), "--no-defaults", "-h", str(new), *_common(binary, is_maria), *_SMALL[:2]]
    if is_maria:
        share = _share(binary)
        script = "".join([*_SYSTEM, *((share / name).read_text() for name in _SCRIPTS)])
        command += ["--bootstrap", "--silent-startup", "--innodb-flush-method=nosync"]
    else:
        script = ""
        command += ["--initialize-insecure", "--innodb-flush-method=nosync"]
    try:
        process = subprocess.run(
            command,
            input=script.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=plain_environment(),
            timeout=START_SECONDS,
            check=False,
        )
        if process.returncode:
            said = "\n".join(process.stdout.decode(errors="replace").strip().splitlines()[-6:])
            raise OrchError(f"{binary.name} could not make its files", detail=said, hint=hint_on_room(home.path))
        new.rename(home.data)
    except subprocess.SubprocessError as error:
        raise OrchError(f"{binary.name} could not make its files", detail=str(error)) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _greets(port: int) -> bool:
    """Whether the server sends its greeting, which is protocol 10; until then it refuses, or sends an error."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.settimeout(1)
            head = connection.recv(5)
    except OSError:
        return False
    return len(head) == 5 and head[4] == 10
