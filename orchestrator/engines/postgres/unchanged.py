"""SQL that checks, before COMMIT, that a file has not changed the records of orch and golang-migrate."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from orchestrator.model import Attempt, History, VersionRow

_ROW = "pg_catalog.concat_ws(':', version, attempt, direction, checksum, applied, in_flight, done)"

# Rows that this transaction wrote, or a block in it with an id of its own: whatever column it changed. Rows of long ago keep
# the ids of their transactions, and ids come again: only those count that can have been given since this transaction's own,
# up to a million more than the snapshot shows.
_OWN = "pg_catalog.txid_current_if_assigned()"
_GIVEN_SINCE = f"pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) - {_OWN}"
_WRITTEN_HERE = f"((xmin::text::bigint - {_OWN}) & 4294967295) <= GREATEST({_GIVEN_SINCE}, 0) + 1000000"


class KnownRecords:
    """The rows of the history and of the version table as this session read or wrote them last."""

    def __init__(self, history: History) -> None:
        self._rows = {(r.version, r.number): r for r in history.attempts}
        self._version_rows: Sequence[VersionRow] = history.rows or (
            (history.version_row,) if history.version_row else ()
        )

    def wrote(self, attempts: Sequence[Attempt], version_row: VersionRow | None) -> None:
        """Take note of rows that were committed. A finished attempt is never written again."""
        for attempt in attempts:
            key = attempt.version, attempt.number
            if key not in self._rows or not self._rows[key].done:
                self._rows[key] = attempt
        if version_row is not None:
            self._version_rows = (version_row,)

    def history_condition(self, table: str) -> str:
        """Return an SQL condition: the history has these rows and no others."""
        rows = ",".join(_row(self._rows[key]) for key in sorted(self._rows))
        listed = _listed(f"SELECT {_ROW} FROM {table} ORDER BY version, attempt")
        seen = f"pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to({listed}, 'UTF8')), 'hex')"
        digest = hashlib.sha256(rows.encode()).hexdigest()
        return f"'{digest}' = {seen} AND NOT EXISTS (SELECT FROM {table} WHERE {_WRITTEN_HERE})"

    def version_condition(self, table: str) -> str:
        """Return an SQL condition: the version table has these rows and no others."""
        rows = sorted((row.version, row.dirty) for row in self._version_rows if row.version is not None)
        expected = ",".join(f"{version}:{_letter(dirty)}" for version, dirty in rows)
        query = f"SELECT pg_catalog.concat_ws(':', version, dirty) FROM {table}"
        if len(rows) > 1:  # to sort one row, the server would look up how these types are sorted
            query += " ORDER BY version, dirty"
        return f"'{expected}' = {_listed(query)}"

    def kept_condition(self, table: str, attempts: Sequence[Attempt]) -> str:
        """Return an SQL condition: the history holds these rows, which were just written; '' if there is nothing to ask.

        A trigger, or a rule, can keep a row from being written, and the server says nothing of it.
        """
        rows = [attempt for attempt in attempts if not self._is_finished(attempt)]
        listed = ", ".join(
            f"({one.version}, {one.number}, {one.applied}, {one.in_flight}, {one.done})".lower() for one in rows
        )
        columns = "version, attempt, applied, in_flight, done"
        return (
            f"{len(rows)} = (SELECT pg_catalog.count(*) FROM {table} WHERE ({columns}) IN ({listed}))" if rows else ""
        )

    def _is_finished(self, attempt: Attempt) -> bool:
        known = self._rows.get((attempt.version, attempt.number))
        return known is not None and known.done


def _listed(query: str) -> str:
    """Return SQL for the values of a query, with commas. (A server plans this faster than an aggregate.)"""
    return f"pg_catalog.array_to_string(ARRAY({query}), ',')"


def points_condition(table: str, row: VersionRow) -> str:
    """Return an SQL condition: the version table has this row alone, which was just written."""
    return KnownRecords(History(version_row=row)).version_condition(table)


def _row(attempt: Attempt) -> str:
    return ":".join(
        (
            str(attempt.version),
            str(attempt.number),
            attempt.direction.value,
            attempt.checksum,
            str(attempt.applied),
            _letter(attempt.in_flight),
            _letter(attempt.done),
        )
    )


def _letter(value: bool) -> str:
    """Return a boolean as PostgreSQL's text has it."""
    return "t" if value else "f"
