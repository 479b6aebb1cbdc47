"""What must hold inside of a transaction before it commits: the records are as they were read, and as they were written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from orchestrator.engines.sqlite import errors
from orchestrator.engines.sqlite.reader import words_of
from orchestrator.engines.sqlite.records import INDEX, Raw, Records
from orchestrator.errors import StalePlanError, StatementError
from orchestrator.model import Attempt, Statement, Target, VersionRow

_CHANGE_SHAPES = ("create", "alter", "drop")


class Guard:
    """Compares the records of this set of migrations, and of others, with what they should be."""

    def __init__(self, target: Target, records: Records) -> None:
        self._target = target
        self._records = records

    def compare(self, connection: sqlite3.Connection, known: Raw | None) -> Raw:
        """Read the records inside of the transaction; StalePlanError if they are not `known`."""
        with errors.mapped(self._target):
            found = self._records.read_raw(connection)
        if known is not None and found != known:
            raise StalePlanError(
                f"the records of {self._target.database_id} were changed since they were read: somebody else migrates it",
                hint="nothing of this file was run; run again. golang-migrate takes no lock on SQLite",
            )
        return found

    @contextmanager
    def shape_kept(self, connection: sqlite3.Connection, statement: Statement) -> Iterator[None]:
        """Run a statement that names our tables; StatementError if they, their indexes or triggers are others after it."""
        names = [name.lower() for name in (self._records.version_table, self._records.history)]
        text = statement.source.lower()
        if words_of(statement.source)[0] not in _CHANGE_SHAPES or not any(name in text for name in (*names, INDEX)):
            yield
            return
        before = self._shape(connection, names)
        yield
        if self._shape(connection, names) != before:
            raise self._refused(statement)

    def _shape(self, connection: sqlite3.Connection, names: Sequence[str]) -> list[tuple[object, ...]]:
        marks = ", ".join("?" * len(names))
        query = " UNION ALL ".join(
            f"SELECT type, name, sql FROM {schema} WHERE lower(tbl_name) IN ({marks})"  # noqa: S608 - of two tables
            for schema in ("sqlite_master", "sqlite_temp_master")
        )
        with errors.mapped(self._target):
            return connection.execute(f"{query} ORDER BY 1, 2", (*names, *names)).fetchall()

    def _refused(self, statement: Statement | None) -> StatementError:
        return StatementError(
            "the file changes the records of orch or of golang-migrate",
            code="SQLITE_ERROR",
            statement=statement,
            hint=f"remove what it does to {self._records.version_table} and {self._records.history}",
        )

    def check_file(
        self,
        connection: sqlite3.Connection,
        before: Raw,
        others: dict[str, tuple[object, ...]],
        statements: Sequence[Statement],
    ) -> None:
        """Refuse a file that changed the records of orch or golang-migrate: they could not be believed any more."""
        if not statements:
            return
        with errors.mapped(self._target):
            after = self._records.read_raw(connection)
            now = self._records.of_other_sets(connection) if others else {}
        if changed := [name for name, rows in others.items() if now.get(name) != rows]:
            raise StatementError(
                f"the file empties, changes or removes {changed[0]}, in which another set of migrations records what is "
                "applied",
                code="SQLITE_ERROR",
                hint="leave it out; if that set is no longer used, drop its tables by hand",
            )
        if after != before:
            raise self._refused(None)

    @contextmanager
    def told_as_records(self) -> Iterator[None]:
        """Say of an error of SQLite that it came while the records were written, not from a statement of the file."""
        try:
            yield
        except sqlite3.Error as error:
            code = errors.code_of(error)
            if code != "SQLITE_ERROR" and not code.startswith("SQLITE_CONSTRAINT"):
                raise
            tables = f"{self._records.version_table} and {self._records.history}"
            raise StatementError(
                f"the records of {self._target.database_id} cannot be written: {error}",
                code=code,
                hint=f"look at the columns, constraints and triggers of {tables}, and for other things with these names",
            ) from None

    def check_kept(self, before: Raw, after: Raw, attempts: Sequence[Attempt], version_row: VersionRow | None) -> None:
        """Refuse to commit if a trigger kept back or changed what was just written."""
        finished = {row[:2] for row in before.attempts or () if row[-1]}
        written = {(row[0], row[1], row[4], bool(row[5]), bool(row[6])) for row in after.attempts or ()}
        there = all(
            (one.version, one.number, one.applied, one.in_flight, one.done) in written
            for one in attempts
            if (one.version, one.number) not in finished
        )
        wanted = (
            () if version_row is None or version_row.version is None else ((version_row.version, version_row.dirty),)
        )
        points = version_row is None or tuple((row[0], bool(row[1])) for row in after.version_rows or ()) == wanted
        if not (there and points):
            table = self._records.version_table if there else self._records.history
            raise StatementError(
                f"{table} does not hold what orch has just written into it: a trigger on it or the "
                "type of a column is in the way",
                code="SQLITE_ERROR",
                hint="drop that trigger: it may look at what is written, and must not change or keep it back",
            )
