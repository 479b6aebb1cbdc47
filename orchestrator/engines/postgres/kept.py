"""What is kept beside and in the history: the schema snapshot of the last run, and the texts of migrations."""

from __future__ import annotations

from typing import Any

import psycopg

from orchestrator.engines.postgres import errors, names
from orchestrator.engines.postgres.history import TEXTS, identifier, literal
from orchestrator.engines.postgres.message import Message
from orchestrator.engines.postgres.tables import Tables
from orchestrator.engines.postgres.wire import Wire
from orchestrator.model import Target


class Kept:
    """Reads and writes them over the connection of a session. The tables must have been looked for."""

    def __init__(self, connection: psycopg.Connection[Any], target: Target, tables: Tables, wire: Wire) -> None:
        self._connection = connection
        self._target = target
        self._tables = tables
        self._wire = wire

    @property
    def table(self) -> str:
        """The name of the table in which a schema snapshot is kept, in SQL."""
        place = self._tables.place
        schema = place.history.removesuffix(identifier(place.history_name))
        return f"{schema}{identifier(names.snapshot_table(place.history_name))}"

    def texts(self, version: int | None) -> dict[tuple[int, int], str]:
        """Return the texts in the rows of a version, or of all, by version and attempt."""
        place = self._tables.place
        if place.history_kind is None or TEXTS not in place.columns:
            return {}
        chosen = "" if version is None else f" AND version = {version}"
        with errors.mapped(self._connection, self._target) as failing:
            failing.reads = True
            query = f"SELECT version, attempt, {TEXTS} FROM {place.history} WHERE {TEXTS} IS NOT NULL{chosen}"
            return {(row[0], row[1]): row[2] for row in self._connection.execute(query.encode()).fetchall()}

    def snapshot(self) -> str:
        """Return the text that `keep` stored last; '' if nothing."""
        if not self._is_there():
            return ""
        row = self._tables.ask(f"SELECT pg_catalog.max(snapshot) FROM {self.table}")
        return row[0] or ""

    def keep(self, text: str) -> None:
        """Make the table beside the history, and write its one row. A table that is another's has no such column."""
        # IF NOT EXISTS asks for the right to create even where the table is there.
        create = "" if self._is_there() else f"CREATE TABLE IF NOT EXISTS {self.table} (snapshot text NOT NULL); "
        self._wire.send(
            Message(
                f"BEGIN; SET LOCAL client_min_messages = warning; SET LOCAL lock_timeout = '2s'; {create}"
                f"DELETE FROM {self.table} WHERE snapshot IS NOT NULL; "
                f"INSERT INTO {self.table} (snapshot) VALUES ({literal(self._connection, text)}); COMMIT"
            )
        )

    def _is_there(self) -> bool:
        name = literal(self._connection, self.table)
        return bool(self._tables.ask(f"SELECT pg_catalog.to_regclass({name}) IS NOT NULL")[0])
