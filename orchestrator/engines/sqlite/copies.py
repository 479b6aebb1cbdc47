"""Whole SQLite files as templates, and copies of these, in the directory of the database.

A copy is made page by page by SQLite's own backup. VACUUM INTO would be quicker, but gives the rows of tables without an
INTEGER PRIMARY KEY other numbers, and drops the journal mode.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from orchestrator.engines.sqlite import errors
from orchestrator.engines.sqlite.dsn import path_of
from orchestrator.engines.sqlite.lock import SUFFIX, FileLock
from orchestrator.errors import DatabaseMissingError, UsageError
from orchestrator.model import Target

_ORIGIN, _CLONE = "-orch-origin", "-orch-clone"
_MAGIC = b"SQLite format 3\0"
_BESIDE = ("-journal", "-wal", "-shm", SUFFIX, _ORIGIN, _CLONE, f"-orch-build{SUFFIX}")


def _may_be_database(path: Path) -> bool:
    """Whether a file is of SQLite, or empty as a new one is; what cannot be read may be one."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) in (b"", _MAGIC)
    except OSError:
        return True


class SqliteCopies:
    """The templates and clones in one directory. Files beside them say which are whole, and which were made as clones."""

    def __init__(self, target: Target, who: str) -> None:
        self._target = target
        self._who = who
        self._directory = Path(path_of(target.url.reveal())).parent

    def names(self, prefix: str) -> list[str]:
        """Return the names of the databases that begin so, the oldest first."""
        with errors.mapped(self._target):
            found = [
                one
                for one in self._directory.glob(f"{prefix}*")
                if one.is_file() and not one.name.endswith(_BESIDE) and _may_be_database(one)
            ]
            return [one.name for one in sorted(found, key=lambda one: one.stat().st_mtime_ns)]

    @contextmanager
    def building(self, template: str, wait: float) -> Iterator[None]:
        """Be the only one who builds or drops this template; LockError after `wait` seconds."""
        lock = FileLock(str(self._directory / f"{template}-orch-build"), self._who, f"the template {template}")
        with lock.held(wait, lambda _: None):
            yield

    def is_finished(self, template: str) -> bool:
        """Whether the template is there and whole."""
        return (self._directory / template).is_file() and self._beside(template, _ORIGIN).is_file()

    def finish(self, template: str, origin: str) -> None:
        """Say that the template is whole; `origin` is kept with it."""
        with errors.mapped(self._target):
            begun = self._beside(template, f"{_ORIGIN}.{os.getpid()}")
            begun.write_text(origin)
            begun.replace(self._beside(template, _ORIGIN))

    def origins(self, prefix: str) -> dict[str, str]:
        """Return the origins of the whole templates whose names begin so."""
        found = {}
        for name in self.names(prefix):
            with suppress(OSError):
                found[name] = self._beside(name, _ORIGIN).read_text()
        return found

    def copy(self, template: str, name: str, wanted: str = "") -> None:
        """Make a copy of the template, called `wanted` and marked as a clone if that is given."""
        source, made = self._directory / template, self._directory / name
        if not self.is_finished(template):
            raise DatabaseMissingError(f"the template {template} is gone")
        try:
            with errors.mapped(self._target):
                _copy(source, made)
                if wanted:
                    self._rename(made, wanted)
        except BaseException:
            with suppress(OSError):
                self._remove(name)
            raise

    def is_marked(self, name: str) -> bool:
        """Whether a database with a name of its own was made as a clone."""
        return self._beside(name, _CLONE).is_file()

    def drop(self, name: str) -> None:
        """Drop a clone or a template. None of that name: nothing to do."""
        with errors.mapped(self._target):
            self._remove(name)

    def _rename(self, made: Path, wanted: str) -> None:
        """Give a whole copy its name, which nobody else may have."""
        place = self._directory / wanted
        taken = UsageError(f"there is a database called '{wanted}' already")
        if place.exists():
            raise taken
        self._beside(wanted, _CLONE).write_text("")
        try:
            os.link(made, place)
        except FileExistsError:
            raise taken from None
        made.unlink()

    def _remove(self, name: str) -> None:
        for suffix in (_ORIGIN, "", *(one for one in _BESIDE if one != _ORIGIN)):
            if suffix != f"-orch-build{SUFFIX}":  # whoever builds it holds that, and removes it
                self._beside(name, suffix).unlink(missing_ok=True)

    def _beside(self, name: str, suffix: str) -> Path:
        return self._directory / f"{name}{suffix}"


def _copy(source: Path, made: Path) -> None:
    left = sqlite3.connect(f"file:{quote(str(source))}?mode=rw", uri=True)
    try:
        right = sqlite3.connect(made)
        try:
            left.backup(right)
        finally:
            right.close()
    finally:
        left.close()
