"""Put the records at the end of a message, behind the checks that let it commit only if nobody else has written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from orchestrator.engines.postgres import errors
from orchestrator.engines.postgres.history import point, record
from orchestrator.engines.postgres.message import Message
from orchestrator.engines.postgres.record_guard import RecordGuard
from orchestrator.engines.postgres.tables import Tables
from orchestrator.model import Attempt, VersionRow

NO_LOCK = "true"


class RecordWriter:
    """Writes rows of history and version table. `lock_held` is the SQL condition that the migration lock is held."""

    def __init__(self, connection: psycopg.Connection[Any], tables: Tables) -> None:
        self._connection = connection
        self._tables = tables
        self.guard = RecordGuard(connection, tables)
        self.lock_held = NO_LOCK

    def put(
        self, message: Message, attempts: Sequence[Attempt], version_row: VersionRow | None, *, after_file: bool
    ) -> None:
        """Put the rows of history and version table at the end of a message, and its COMMIT.

        `after_file`: statements of a file stand before them.
        """
        locked = self.lock_held != NO_LOCK
        held = (self.lock_held, errors.marker(errors.LOCK_LOST))
        shaped = self.guard.shaped() if locked and after_file else []
        message.put_checks([held, *shaped], self.guard.seen if shaped else "")
        if locked and (conditions := self.guard.unchanged()):
            message.put_checks(conditions)
        message.put(self._tables.create(after_file=after_file))
        for attempt in attempts:
            message.put(
                record(
                    self._connection,
                    self._tables.history,
                    attempt,
                    self._tables.identity(attempt),
                    self._tables.columns_to_write(),
                )
            )
        if version_row is not None:
            message.put(point(self._tables.version_table, version_row))
        if locked and (conditions := self.guard.kept(attempts, version_row)):
            message.put_checks(conditions)
        message.put("COMMIT")
