"""Keep the files of a test run in memory: on a disk, creating a PostgreSQL database takes five times as long.

A killed server leaves the same files in memory as on a disk that keeps its power.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 6 << 30  # bytes


def begin() -> Path | None:
    """Make a temporary directory in memory the one of this process and its children. None: it stays what it is.

    It stays where TMPDIR is set, where there is no such memory, and where less than 6 GiB of it are free.
    """
    if "TMPDIR" in os.environ or not _has_room():
        return None
    made = Path(tempfile.mkdtemp(prefix="orch-", dir=_MEMORY))
    made.chmod(0o711)  # a PostgreSQL server that root starts runs as another user
    os.environ["TMPDIR"] = str(made)
    tempfile.tempdir = None  # read the variable again
    return made


def end(made: Path, *, keep: bool) -> None:
    """Delete the directory; with `keep`, all but the directories that pytest has left of failed tests."""
    for one in made.iterdir():
        if not (keep and one.name.startswith("pytest-of-")):
            shutil.rmtree(one, ignore_errors=True) if one.is_dir() and not one.is_symlink() else one.unlink()
    with suppress(OSError):  # not empty
        made.rmdir()


def _has_room() -> bool:
    with suppress(OSError):
        facts = os.statvfs(_MEMORY)
        free = re.search(r"^MemAvailable: +([0-9]+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
        is_memory = re.search(rf"^\S+ {_MEMORY} tmpfs ", Path("/proc/mounts").read_text(), re.MULTILINE)
        room = min(facts.f_bavail * facts.f_frsize, int(free[1]) * 1024 if free else 0)
        return bool(is_memory) and not facts.f_flag & os.ST_NOEXEC and room >= _ROOM
    return False
