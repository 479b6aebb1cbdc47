"""The migration lock between runs of orch: a locked file beside the database.

SQLite has no lock that lasts over several transactions and lets readers go on. This one tells who is at work and lets
others wait in turn; that nothing runs twice does not rest on it: every transaction compares the records first, and so it
does beside golang-migrate, which takes no lock at all.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from orchestrator.errors import ConnectError, LockError, NotPermittedError
from orchestrator.model import LockHolder

TRY_EVERY = 0.05  # seconds
SUFFIX = "-orch-lock"


class FileLock:
    """The lock of one database file."""

    def __init__(self, path: str, who: str, id: str) -> None:
        self._path = path + SUFFIX
        self._who = who
        self._id = id

    @contextmanager
    def held(self, wait: float, on_wait: Callable[[LockHolder], None]) -> Iterator[None]:
        """Hold the lock; LockError after `wait` seconds."""
        deadline = time.monotonic() + wait
        while (descriptor := self._take()) is None:
            holder = self.holder()
            if time.monotonic() >= deadline:
                who = holder.description if holder else "another run"
                raise LockError(
                    f"{self._id} is locked by {who}",
                    detail=f"waited {wait:g} s",
                    hint="wait for its end, or raise --lock-timeout",
                )
            if holder:
                on_wait(holder)
            time.sleep(TRY_EVERY)
        try:
            yield
        finally:
            with suppress(OSError):  # only its holder removes it
                os.unlink(self._path)  # noqa: PTH108 - a path as an object costs more than this call
            os.close(descriptor)

    def holder(self) -> LockHolder | None:
        """Return who holds the lock. Writes nothing."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _read(os.pread(descriptor, 10_000, 0))
        finally:
            os.close(descriptor)
        return None

    def _take(self) -> int | None:
        """Return the descriptor that holds the lock, None if somebody else does."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            if isinstance(error, PermissionError):
                there = os.path.lexists(self._path)
                raise NotPermittedError(
                    f"{self._path if there else f'the directory of {self._id}'} cannot be written by this user",
                    hint="orch writes it while it works: give this user the right to"
                    if there
                    else "SQLite itself needs the right to write the directory of a database",
                ) from None
            raise ConnectError(
                f"{self._path} cannot be written: {error.strerror}", hint="make room, or look at its directory"
            ) from None
        try:
            if not self._locked(descriptor):
                os.close(descriptor)
                return None
            self._refuse_others(descriptor)
            told = {"who": self._who, "pid": os.getpid(), "since": datetime.now(UTC).isoformat()}
            os.ftruncate(descriptor, 0)
            with suppress(OSError):  # a full disk: then nobody knows who it is, and the lock holds
                os.pwrite(descriptor, json.dumps(told).encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _refuse_others(self, descriptor: int) -> None:
        """Raise ConnectError for a file that no run of orch has written: it would be emptied."""
        if os.pread(descriptor, 1, 0) not in (b"", b"{"):
            raise ConnectError(
                f"{self._path} is a file of another program, and orch needs this name for its lock",
                hint="move that file away",
            )

    def _locked(self, descriptor: int) -> bool:
        """Whether this descriptor now holds the lock. ConnectError where nothing can be locked."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it has removed the file: then this is not the one that others open.
            return os.stat(self._path).st_ino == os.fstat(descriptor).st_ino  # noqa: PTH116 - as above
        except (BlockingIOError, FileNotFoundError):
            return False
        except OSError as error:
            raise ConnectError(
                f"the file system of {self._path} takes no locks: {error.strerror or error}",
                hint="keep the database on a disk of this machine: that of a network often has no locks",
            ) from None


def _read(content: bytes) -> LockHolder:
    try:
        told = json.loads(content)
        who, pid, since = str(told["who"]), int(told["pid"]), datetime.fromisoformat(told["since"])
    except (ValueError, TypeError, KeyError):
        return LockHolder("another process", alive=True)
    return LockHolder(f"{who} (process {pid})", since, f"{who} {pid} {since}", alive=True)
