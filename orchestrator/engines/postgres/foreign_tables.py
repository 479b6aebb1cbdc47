"""Tell our tables from those of other tools with the same names, and from tables whose rows this login may not see."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orchestrator.engines import foreign
from orchestrator.engines.postgres import errors, names
from orchestrator.engines.postgres.find_tables import Place
from orchestrator.engines.postgres.history import OURS
from orchestrator.model import Attempt, Target, VersionRow, read_attempt

_KINDS = {"v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence"}


def refuse_hidden(place: Place, target: Target, login: str) -> None:
    """Refuse to read tables whose rows this login may not see, or that are views: no rows would look like a new database.

    NotPermittedError or ConflictError.
    """
    for kind, table in ((place.version_kind, place.version_table), (place.history_kind, place.history)):
        shown = table.replace('"', "")
        if kind is None:
            continue
        if kind.endswith("!"):
            raise errors.hidden(target, shown, login)
        if kind not in ("r", "p"):
            raise foreign.no_table(target.database_id, shown, _KINDS.get(kind, kind))


def attempts_of(
    target: Target, history: str, columns: Collection[str] | None, records: Sequence[Mapping[str, Any]]
) -> tuple[Attempt, ...]:
    """Return the rows of the history. ConflictError if another tool, or a person, has made the table or a row.

    `columns` are those of the table; None if there is no history.
    """
    if columns is not None and not set(columns) >= OURS:
        raise foreign.other_history(target.database_id, history, columns)
    try:
        return tuple(map(read_attempt, records))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise foreign.other_row(target.database_id, history) from None


def version_row_of(target: Target, row: Mapping[str, Any]) -> VersionRow:
    """Return a row of golang-migrate's table; ConflictError if it is none."""
    version, dirty = row.get("version"), row.get("dirty")
    if type(version) is not int or type(dirty) is not bool:
        raise foreign.other_version_table(target.database_id, names.version_table(target)[1], row.keys())
    return VersionRow(version, dirty)


def empty_version_row(target: Target, columns: Collection[str]) -> VersionRow:
    """Return what golang-migrate's table says after the last down. ConflictError if these are not its columns."""
    if not {"version", "dirty"} <= set(columns):
        raise foreign.other_version_table(target.database_id, names.version_table(target)[1], columns)
    return VersionRow(None)
