"""Tell our tables from those of other tools with the same names, and from tables whose rows this login may not see."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from orchestrator.engines.postgres import errors, names
from orchestrator.engines.postgres.find_tables import Place
from orchestrator.engines.postgres.history import OURS
from orchestrator.errors import ConflictError
from orchestrator.hints import Blank, Command, Hint
from orchestrator.model import Attempt, Target, VersionRow, read_attempt

_KINDS = {"v": "it is a view", "m": "it is a materialized view", "f": "it is a foreign table", "S": "it is a sequence"}


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
            raise ConflictError(
                f"{target.database_id}: {shown} is not a table ({_KINDS.get(kind, kind)})",
                detail="orch reads and writes its records in tables of its own, never through something else",
                hint=f"put the table back in its place: whoever made {shown} can tell where it went",
            )


def attempts_of(
    target: Target, history: str, columns: Collection[str] | None, records: Sequence[Mapping[str, Any]]
) -> tuple[Attempt, ...]:
    """Return the rows of the history. ConflictError if another tool, or a person, has made the table or a row.

    `columns` are those of the table; None if there is no history.
    """
    if columns is not None and not set(columns) >= OURS:
        raise ConflictError(
            f"{target.database_id}: {history} is not orch's history table but another tool's",
            detail=f"its columns are {', '.join(columns)}",
            hint=f"rename it (ALTER TABLE {history} RENAME TO …), "
            "or let orch use another name: history in databases.yaml",
        )
    try:
        return tuple(map(read_attempt, records))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ConflictError(
            f"{target.database_id}: a row of {history} is not one that orch wrote",
            hint="who changed it? Put it back as it was",
        ) from None


def version_row_of(target: Target, row: Mapping[str, Any]) -> VersionRow:
    """Return a row of golang-migrate's table; ConflictError if it is none."""
    version, dirty = row.get("version"), row.get("dirty")
    if type(version) is not int or type(dirty) is not bool:
        raise _foreign(target, row.keys())
    return VersionRow(version, dirty)


def empty_version_row(target: Target, columns: Collection[str]) -> VersionRow:
    """Return what golang-migrate's table says after the last down. ConflictError if these are not its columns."""
    if not {"version", "dirty"} <= set(columns):
        raise _foreign(target, columns)
    return VersionRow(None)


def _foreign(target: Target, columns: Iterable[str]) -> ConflictError:
    return ConflictError(
        f"{target.database_id}: {names.version_table(target)[1]} is not golang-migrate's table but another tool's",
        detail=f"its columns are {', '.join(columns)}; golang-migrate's are version bigint, dirty boolean",
        hint=Hint(
            "give orch one of its own: x-migrations-table=orch_migrations in the DSN; "
            "and if these migrations have run already: ",
            Command("baseline", target.database_id, "--version", Blank("VERSION")),
        ),
    )
