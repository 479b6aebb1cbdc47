"""What a file must leave as it is: our records, their tables, and the records of other sets of migrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from orchestrator.engines.postgres import errors
from orchestrator.engines.postgres.history import literal
from orchestrator.engines.postgres.other_sets import OtherTable, others, untouched
from orchestrator.engines.postgres.record_tables import QUESTION, table_of
from orchestrator.engines.postgres.shapes import HISTORY, VERSION_TABLE, Shape, seen, shape_of
from orchestrator.engines.postgres.tables import Tables
from orchestrator.engines.postgres.unchanged import KnownRecords, points_condition
from orchestrator.model import Attempt, History, VersionRow


class RecordGuard:
    """Conditions that must hold before a transaction commits, each with the marker of its error."""

    def __init__(self, connection: psycopg.Connection[Any], tables: Tables) -> None:
        self._connection = connection
        self._tables = tables
        self._others: Sequence[OtherTable] | None = None  # tables of other sets; None: not looked for
        self._shapes: Mapping[str, Shape] = {}  # of both tables, before a file of this session ran

    def unchanged(self) -> list[tuple[str, str]]:
        """Return conditions that the file just run must have left true, each with the marker of its error."""
        conditions = []
        if self._tables.has_history:
            hidden = f"pg_catalog.row_security_active({self._literal(self._tables.history)})"
            conditions.append((f"NOT {hidden}", errors.marker(errors.RECORDS_HIDDEN, self._tables.history)))
        if self._tables.known is not None and self._tables.has_history:
            condition = self._tables.known.history_condition(self._tables.history)
            conditions.append((condition, errors.marker(errors.HISTORY_CHANGED, self._tables.history)))
        if self._tables.known is not None and self._tables.has_version_table:
            condition = self._tables.known.version_condition(self._tables.version_table)
            conditions.append((condition, errors.marker(errors.VERSION_TABLE_CHANGED, self._tables.version_table)))
        for table in self._others or ():
            name = errors.marker(errors.OTHERS_CHANGED, f"{table.schema}.{table.name}")
            conditions.append((untouched(table, self._literal), name))
        return conditions

    def shaped(self) -> list[tuple[str, str]]:
        """Return conditions like those of `unchanged`, which name columns: the tables have them, and still are what they were.

        They are about what `seen` selects. The version table that was made before the first file may be gone with its schema.
        """
        version_table, history = self._tables.version_table, self._tables.history
        conditions = []
        if shape := self._shapes.get(version_table):
            there = self._tables.has_version_table
            gone = "" if there else f"pg_catalog.to_regclass({self._literal(version_table)}) IS NULL OR "
            condition = gone + shape.condition(is_history=False)
            conditions.append((condition, errors.marker(errors.RESHAPED, version_table)))
        if self._tables.has_history and (shape := self._shapes.get(history)):
            known = self._tables.columns
            shape = shape._replace(columns={name: kind for name, kind in shape.columns.items() if name in known})
            conditions.append((shape.condition(is_history=True), errors.marker(errors.RESHAPED, history)))
        return conditions

    @property
    def seen(self) -> str:
        """The FROM clause of the conditions of `shaped`."""
        return seen(self._literal(self._tables.version_table), self._literal(self._tables.history))

    def kept(self, attempts: Sequence[Attempt], version_row: VersionRow | None) -> list[tuple[str, str]]:
        """Return conditions that hold if these rows, which were just written, are there."""
        known = self._tables.known or KnownRecords(History())
        conditions = []
        if condition := known.kept_condition(self._tables.history, attempts):
            conditions.append((condition, errors.marker(errors.NOT_KEPT, self._tables.history)))
        if version_row is not None:
            condition = points_condition(self._tables.version_table, version_row)
            conditions.append((condition, errors.marker(errors.NOT_KEPT, self._tables.version_table)))
        return conditions

    def look_for_other_sets(self) -> None:
        """Learn which tables of other sets are in this database, before a file runs that may change them."""
        if self._others is None:
            # A database that was created just now has none.
            self.learn([] if self._tables.pristine else self._tables.ask_all(QUESTION))

    def learn(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take note of the tables of other sets, and of the shapes of ours, as the rows of `QUESTION` tell them."""
        found = [table_of(row) for row in rows]
        own = {(one.schema, one.name): one for one in found}
        version_table, history = map(own.get, self._tables.names)
        self._shapes = {
            self._tables.version_table: shape_of(version_table, VERSION_TABLE),
            self._tables.history: shape_of(history, HISTORY),
        }
        self._others = others(found, self._tables.names)

    def _literal(self, value: str) -> str:
        return literal(self._connection, value)
