"""The directory of one embedded server: its persistent files and their permissions."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from orchestrator.engines import dialect
from orchestrator.errors import OrchError

HOST = "127.0.0.1"
USER = "orch"
_LOCK_SECONDS = 180.0
"""How long to wait for another `up` or `down` of the same root."""
CLAIM_SECONDS = 10.0
"""How long to wait for a killed server's last processes."""
POLL_SECONDS = 0.01


class ClaimedError(OrchError):
    """A process of this home still holds its data. It may be a server that was just started."""


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
        known = dialect(self.engine)
        address = known.embedded.address.format(host=self.host, port=self.port)
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@{address}"
        name = quote(database, safe="{}")
        query = known.embedded.query
        return f"{known.dsn.schemes[0]}://{login}/{name}{'?' if query else ''}{query}"


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
        """The log of the server; that of the run before is `log.old`."""
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
        """Raise OrchError unless the directory belongs to the user who runs us; otherwise users would lock each other out."""
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

    def launched(self) -> float:
        """Return when its server was last launched, in clock ticks since boot; infinity if it never was."""
        try:
            return float((self.path / "claim").read_text())
        except (OSError, ValueError):
            return math.inf

    def claim(self) -> contextlib.AbstractContextManager[int]:
        """Hold the data alone. A server inherits the hold by the descriptor, and its last process lets go.

        Raises ClaimedError where a former server's processes, which may take a moment to go, do not.
        """
        refusal = f"processes of a former server still use {self.data}"
        return _flock(self.path / "claim", CLAIM_SECONDS, refusal, ClaimedError)

    @property
    def _file(self) -> Path:
        return self.path / "server.json"


@contextlib.contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Hold the lock under which servers of this root are started and stopped; the kernel releases it if we are killed.

    Raises OrchError after _LOCK_SECONDS.
    """
    with _flock(root / "lock", _LOCK_SECONDS, f"another process is busy with the embedded servers in {root}"):
        yield


def write_private(path: Path, text: str) -> Path:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path


@contextlib.contextmanager
def _flock(path: Path, seconds: float, refusal: str, error: type[OrchError] = OrchError) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise error(refusal, hint="wait for it, or see who holds it: fuser -v " + str(path)) from None
                time.sleep(POLL_SECONDS)
        yield handle
    finally:
        os.close(handle)
