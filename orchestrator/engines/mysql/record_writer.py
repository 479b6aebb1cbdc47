"""Write records at the end of a transaction.

One message writes them, lets the server check that everything is as it should be, and commits. If a check fails, its query
fails, and the server stops before COMMIT. Then orch does the same step by step, and finds out which check it was.

A server answers each statement of a message with a packet of its own. MariaDB takes several as one block, with one answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pymysql

from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import Answer, ask, ask_all, is_mariadb
from orchestrator.engines.mysql.guard import Guard
from orchestrator.engines.mysql.records import Records, quoted, text
from orchestrator.engines.mysql.store import Store, Written, rows_of
from orchestrator.model import Attempt, Target, VersionRow

_SAVEPOINT = "orch_end"
_SYNTAX = 1064
_MANY, _LONG = 50, 200_000
"""So many attempts, and characters of their texts, go step by step: the server takes messages up to max_allowed_packet."""


class RecordWriter:
    """Writes the records of one session. Its methods may raise pymysql.Error; then the transaction is still open."""

    def __init__(self, connection: Any, target: Target, records: Records, store: Store, guard: Guard) -> None:
        self._connection = connection
        self._target = target
        self._records = records
        self._store = store
        self._guard = guard
        self._kept: tuple[Attempt, VersionRow | None] | None = None
        self._takes_blocks = is_mariadb(connection)

    def keep(self, attempt: Attempt, version_row: VersionRow | None) -> None:
        """Keep the progress of a file until the next record of its attempt, which includes it."""
        self._kept = attempt, version_row

    def is_included_in(self, attempts: Sequence[Attempt]) -> bool:
        """Whether nothing is kept, or the records of these attempts include it."""
        return self._kept is None or self._kept[0][:2] in {one[:2] for one in attempts}

    def write_what_is_kept(self, is_ours: str) -> None:
        """Write what is kept, in a transaction of its own."""
        if self._kept is not None:
            attempt, version_row = self._kept
            self.commit([(attempt, "")], version_row, is_ours, look=False)

    def commit(self, written: Written, version_row: VersionRow | None, is_ours: str, *, look: bool) -> None:
        """Write records in a transaction of their own.

        `look`: also read what our tables hold afterwards, because the statement that runs next may change that.
        """
        first, begin = self._store.creating(), ["START TRANSACTION"]
        conditions = [is_ours, self._here()]
        if not _is_short(written) or not self._at_once(first, begin, written, version_row, conditions, look=look):
            ask(self._connection, "ROLLBACK")
            self._store.get_ready()
            ask(self._connection, "START TRANSACTION")
            self._step_by_step(written, version_row, is_ours, is_file=False)
        self._kept = None

    def end(self, written: Written, version_row: VersionRow | None, is_ours: str, *, is_file: bool) -> None:
        """Write records at the end of an open transaction, and commit it."""
        before = [is_ours, self._here(), *self._store.are_known(), *(self._guard.are_unchanged() if is_file else ())]
        first, checked = [f"SAVEPOINT {_SAVEPOINT}"], [errors.stop_unless(before)]
        is_short = _is_short(written)
        if not is_short or not self._at_once(first, checked, written, version_row, (), look=False):
            if is_short:
                ask(self._connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            self._step_by_step(written, version_row, is_ours, is_file=is_file)

    def _at_once(
        self,
        first: Sequence[str],
        then: Sequence[str],
        written: Written,
        version_row: VersionRow | None,
        conditions: Sequence[str],
        *,
        look: bool,
    ) -> bool:
        """Send these queries and all that is to be written as one message. False: the server has stopped before COMMIT.

        `then` are the queries that go into the block with the records.
        """
        records = self._store.record(written, again=True)
        check = errors.stop_unless([*conditions, *self._are_there([one for one, _ in written], version_row)])
        block = self._block([*then, *records, *self._store.point(version_row), check])
        # COMMIT is no part of the block: only so the answers tell that it was the COMMIT that failed.
        queries = [*first, *block, *([self._guard.marks()] if look else ()), "COMMIT"]
        answers: list[Answer] = []
        try:
            ask_all(self._connection, queries, answers)
        except pymysql.Error as error:
            code = errors.code_of(error)
            if not self._connection.open or code in errors.TRANSIENT or code == errors.KILLED:
                raise
            if len(answers) == len(queries) - 1:  # all is as it should be, and the server refuses the COMMIT itself
                raise
            self._takes_blocks &= code != _SYNTAX  # in sql_mode ORACLE, and behind a proxy that names another server
            return False
        self._store.note_ready()
        self._store.note_committed(version_row)
        self._guard.note_written(answers[-2] if look else None, [one for one, _ in written])
        return True

    def _step_by_step(self, written: Written, version_row: VersionRow | None, is_ours: str, *, is_file: bool) -> None:
        self._store.check(is_ours, is_file=is_file)
        if is_file:
            self._guard.check()
        for query in (*self._store.record(written), *self._store.point(version_row)):
            ask(self._connection, query)
        self._guard.check_kept([one for one, _ in written], version_row, self._store.finished)
        ask(self._connection, "COMMIT")
        self._store.note_committed(version_row)

    def _block(self, queries: Sequence[str]) -> Sequence[str]:
        """Return queries that have no rows as one statement, if the server takes it."""
        return [f"BEGIN NOT ATOMIC {'; '.join(queries)}; END"] if self._takes_blocks else queries

    def _here(self) -> str:
        return f"LOWER(DATABASE()) <=> LOWER({text(self._target.database)})"

    def _are_there(self, attempts: Sequence[Attempt], version_row: VersionRow | None) -> list[str]:
        """Return SQL conditions that hold if both tables have what was written, and the version table nothing else."""
        conditions = []
        if version_row is not None:
            conditions = self._store.are_versions(rows_of(version_row))
        if attempts:
            rows = " OR ".join(
                f"version = {one.version} AND attempt = {one.number} AND applied = {one.applied} "
                f"AND in_flight = {int(one.in_flight)} AND done = {int(one.done)}"
                for one in attempts
            )
            history = quoted(self._records.history)
            conditions.append(f"(SELECT COUNT(*) FROM {history} WHERE {rows}) = {len(attempts)}")
        return conditions


def _is_short(written: Written) -> bool:
    return (
        len(written) <= _MANY and sum(len(one.texts) + len(one.error) + len(one.reason) for one, _ in written) <= _LONG
    )
