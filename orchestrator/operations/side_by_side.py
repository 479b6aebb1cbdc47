"""Do the same pure work for many databases in several processes, on systems where a process is copied cheaply."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from orchestrator.errors import InvalidError
from orchestrator.model import Database

T = TypeVar("T")
_work: list[Callable[[Database], Any]] = []  # a copied process finds it here; nothing has to be sent to it


def side_by_side(work: Callable[[Database], T], databases: Sequence[Database]) -> list[T] | None:
    """Return what the work returns for each database, in their order; its result must be one that can be pickled.

    None if it has to be done in this process: there is one core, or something else runs here, or the work raised
    InvalidError for one of them.
    """
    processes = min(len(databases), os.cpu_count() or 1)
    if processes < 2 or sys.platform != "linux" or threading.active_count() > 1:
        return None
    _work.append(work)
    try:
        with multiprocessing.get_context("fork").Pool(processes, _alone) as pool:
            found = list(pool.imap(_do, databases, chunksize=1))
    finally:
        _work.clear()
    return None if None in found else [one[0] for one in found if one is not None]


def _alone() -> None:
    """A signal is for the process that shares out the work; it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _do(database: Database) -> tuple[Any] | None:
    try:
        return (_work[0](database),)
    except InvalidError:
        return None
