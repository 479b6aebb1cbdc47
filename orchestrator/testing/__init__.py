"""Fresh migrated databases for tests.

    with orchestrator.testing.database("postgres-order") as db:
        with db.connect() as connection: ...

The database is a copy of a template that is migrated once, for as long as its migrations stay the same. It belongs to
this process: it is dropped at the end, and by whoever comes next if this process is killed.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.manifest.load import find_manifest
from orchestrator.testing.estates import Estate
from orchestrator.testing.fresh_database import FreshDatabase
from orchestrator.testing.names_in_hints import named_here

__all__ = ["Estate", "FreshDatabase", "database", "estate"]

_mutex = threading.Lock()
_estates: dict[tuple[int, Path, bool | None], Estate] = {}


@contextmanager
def database(
    name: str, *, file: str | Path | None = None, seeds: bool = True, embedded: bool | None = None
) -> Iterator[FreshDatabase]:
    """Lend a fresh migrated database of the manifest, named as `orch --only` takes it.

    Without `seeds`, migrations named as seeds are left out. `embedded` chooses between servers from wheels and the DSNs
    of the manifest; by default the DSNs, if the environment has any of the variables that they need.
    """
    with estate(file, embedded=embedded).database(name, seeds=seeds) as fresh:
        yield fresh


def estate(
    file: str | Path | None = None,
    *,
    embedded: bool | None = None,
    wait: float | None = None,
    tell: Callable[[str], None] | None = None,
) -> Estate:
    """Return the estate of a manifest (default: the nearest databases.yaml in this or a parent directory); one a process.

    When a server is not ready, orch waits for it up to `wait` seconds (default: 60), at each outage. `tell` gets a line
    when the waiting begins (default: it is written to stderr).
    """
    path = find_manifest(str(file) if file else None, os.environ, Path.cwd()).resolve()
    key = (os.getpid(), path, embedded)  # connections do not survive a fork
    with _mutex, named_here():
        if key not in _estates:
            _estates[key] = Estate(path, embedded)
        found = _estates[key]
        found.wait = found.wait if wait is None else wait
        found.tell = tell or found.tell
        return found


@atexit.register
def close_all() -> None:
    """Close what is kept between two clones; at the end of the process, or of its tests."""
    for (pid, _, _), one in _estates.items():
        if pid == os.getpid():
            one.close()
