"""What a database records of its migrations: the history, and golang-migrate's version table. All are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from math import isfinite
from typing import Any

from orchestrator.model.files import Direction
from orchestrator.records import NamedTuple

HISTORY_FORMAT = 1
"""The version of the rows that this release writes; rows of a later one are read, never written over."""


class Origin(Enum):
    """How an attempt came to be."""

    APPLIED = "applied"
    ADOPTED = "adopted"
    BASELINE = "baseline"
    MARKED = "marked"
    MOVED = "moved"
    ACKNOWLEDGED = "acknowledged"
    CLONED = "cloned"


class VersionRow(NamedTuple):
    """golang-migrate's single row. `version` is None when the table is there and empty (after the last down)."""

    version: int | None
    dirty: bool = False


class Attempt(NamedTuple):
    """The record of one attempt to take a migration in one direction; (version, attempt) is its key.

    `applied` of `total` statements are known to be done; `in_flight` says that one more was begun and its end was
    not recorded. `prefix` is the checksum of the statements done, so that a changed prefix is noticed. `role` is the login
    on the server and `host` where orch ran; who writes the record adds both. `texts` is what is to be kept of both files,
    or '': it is written, and is not read with the history.
    """

    version: int
    number: int
    name: str
    direction: Direction
    checksum: str
    applied: int = 0
    total: int = 0
    in_flight: bool = False
    prefix: str = ""
    done: bool = False
    origin: Origin = Origin.APPLIED
    started_at: datetime | None = None
    finished_at: datetime | None = None
    seconds: float | None = None
    actor: str = ""
    role: str = ""
    host: str = ""
    run_id: str = ""
    tool: str = ""
    error: str = ""
    reason: str = ""
    format: int = HISTORY_FORMAT
    texts: str = ""


_DIRECTIONS = {direction.value: direction for direction in Direction}
_ORIGINS = {origin.value: origin for origin in Origin}


def read_attempt(row: Mapping[str, Any]) -> Attempt:
    """Read a stored attempt of this or another release. Numbers may be of any integer type, times ISO texts.

    What this release does not know is passed over; a direction that it does not know makes the row one of a later format.
    """
    direction, origin = _DIRECTIONS.get(row["direction"]), _ORIGINS.get(row["origin"])
    return Attempt(
        version=int(row["version"]),
        number=int(row["attempt"]),
        name=row["name"],
        direction=direction or Direction.UP,
        checksum=row["checksum"],
        applied=int(row["applied"]),
        total=int(row["total"]),
        in_flight=row["in_flight"],
        prefix=row["prefix"],
        done=row["done"],
        origin=origin or Origin.APPLIED,
        started_at=_time(row.get("started_at")),
        finished_at=_time(row.get("finished_at")),
        seconds=_seconds(row.get("seconds")),
        actor=row.get("actor", ""),
        role=row.get("role", ""),
        host=row.get("host", ""),
        run_id=row.get("run_id", ""),
        tool=row.get("tool", ""),
        error=row.get("error", ""),
        reason=row.get("reason", ""),
        format=int(row.get("format", HISTORY_FORMAT)) if direction else HISTORY_FORMAT + 1,
    )


def _time(value: datetime | str | None) -> datetime | None:
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:  # PostgreSQL's infinity, and years that Python does not have: only people read these times
        return None


def _seconds(value: Any) -> float | None:
    """Return a duration; None for NaN and infinity, which PostgreSQL's JSON has as texts."""
    return float(value) if isinstance(value, (int, float)) and isfinite(value) else None


class ReadOnly(NamedTuple):
    """Why a database takes no writes, and what to do where it should."""

    what: str
    hint: str


class History(NamedTuple):
    """What one database says of itself. `version_row` is None if golang-migrate's table does not exist.

    `unrecorded` is how many tables or collections there are where neither history nor version table is. `emptied`: the history
    is there and holds no rows, which no run leaves behind. `rows` are those of golang-migrate's table if they contradict
    each other; it has one row, or none. `read_only`: nothing can be written there. `elsewhere` is a sentence of where the
    rows were written, if that is not this database, and `place` is the same for two targets that are one version table of
    one database.
    """

    exists: bool = True
    store: bool = False
    version_row: VersionRow | None = None
    attempts: tuple[Attempt, ...] = ()
    extensions: tuple[str, ...] = ()
    unrecorded: int = 0
    emptied: bool = False
    rows: tuple[VersionRow, ...] = ()
    read_only: ReadOnly | None = None
    elsewhere: str = ""
    place: str = ""
