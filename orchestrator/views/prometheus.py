"""A run as a text file for Prometheus: its node exporter reads such files from a directory (the textfile collector)."""

from __future__ import annotations

import errno
import os
import select
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import OrchError, UsageError
from orchestrator.events import DatabaseBlocked, DatabaseFailed, DatabaseFinished, DatabaseSkipped, Event, StepFinished

if TYPE_CHECKING:
    from orchestrator.operations.plan import Planned

_PATIENCE = 5.0  # seconds, for whoever reads from a pipe


class PrometheusFile:
    """Folds the events of one run, and writes the file whole at its end, so that nobody reads half of it.

    A device or a pipe is written to, not replaced. UsageError if the directory of the file is not there, or it is one.
    """

    title = "the file of --prometheus"

    def __init__(self, path: str, now: float) -> None:
        self._path = Path(path)
        if not self._path.parent.is_dir():
            raise UsageError(f"{path} cannot be written: its directory does not exist")
        if self._path.is_dir():
            raise UsageError(f"{path} cannot be written: it is a directory", hint="name a file in it: orch.prom")
        self._began = now
        self._mutex = threading.Lock()
        self._engines: dict[str, str] = {}
        self._versions: dict[str, int | None] = {}
        self._pending: dict[str, int] = {}
        self._failed: set[str] = set()
        self._applied = 0

    def plan_is_made(self, planned: Planned) -> None:
        """Learn where each database stands, and what is pending there."""
        for one in planned.plan.databases:
            self._engines[one.id] = one.engine
            self._versions[one.id] = one.version
            self._pending[one.id] = len(one.steps)
            self._failed |= {one.id} if one.failure else set()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        with self._mutex:
            match event:
                case StepFinished():
                    self._applied += 1
                    self._pending[event.database] = max(0, self._pending.get(event.database, 0) - 1)
                case DatabaseFinished():
                    self._versions[event.database] = event.version
                case DatabaseFailed() | DatabaseBlocked() | DatabaseSkipped():
                    self._failed.add(event.database)

    def end(self, code: int) -> None:
        """Write the file; OrchError if it cannot be written."""
        text = self.text(code, time.time())
        try:
            if self._path.exists() and (not self._path.is_file() or self._path.parent == Path("/dev")):
                _write_into(self._path, text)
            else:
                _write_whole(self._path.resolve(), text)  # a symbolic link stays one
        except OSError as error:
            raise OrchError(f"{self._path} cannot be written: {error.strerror}") from None

    def text(self, code: int, now: float) -> str:
        """Return the whole file for a run that ended now, in seconds since 1970, with this exit code."""
        databases = list(self._engines)
        known = [(id, float(version)) for id, version in self._versions.items() if version is not None]
        lines = [
            *_metric("orch_run_timestamp_seconds", "When the last run ended.", [("", now)]),
            *_metric("orch_run_duration_seconds", "How long it took.", [("", now - self._began)]),
            *_metric("orch_run_exit_code", "Its exit code: 0 if all is well.", [("", code)]),
            *_metric("orch_run_migrations_applied", "How many migrations it ran.", [("", self._applied)]),
            *self._of_each("orch_database_version", "The version of each database.", known),
            *self._of_each(
                "orch_database_pending", "Its pending migrations.", [(id, self._pending[id]) for id in databases]
            ),
            *self._of_each(
                "orch_database_failed",
                "1 if it failed, or was not reached.",
                [(id, id in self._failed) for id in databases],
            ),
        ]
        return "\n".join(lines) + "\n"

    def _of_each(self, name: str, what: str, values: Iterable[tuple[str, float]]) -> list[str]:
        return _metric(
            name,
            what,
            [
                (f'{{database="{_label(id)}",engine="{_label(self._engines.get(id, ""))}"}}', value)
                for id, value in values
            ],
        )


def _metric(name: str, what: str, values: Iterable[tuple[str, float]]) -> list[str]:
    head = [f"# HELP {name} {what}", f"# TYPE {name} gauge"]
    return [*head, *(f"{name}{labels} {value:.3f}".removesuffix(".000") for labels, value in values)]


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody reads half of it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)  # the node exporter runs as another user
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _write_into(path: Path, text: str) -> None:
    """Write to a device or a pipe. OSError if nobody reads there, or not within a few seconds."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
    try:
        left = memoryview(text.encode())
        while left:
            if not select.select([], [handle], [], _PATIENCE)[1]:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            left = left[os.write(handle, left) :]
    finally:
        os.close(handle)
