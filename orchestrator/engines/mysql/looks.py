"""What a session reads: both tables, the holder of the lock, the schema, texts beside the history, facts of the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import is_mariadb
from orchestrator.engines.mysql.lock import NamedLock
from orchestrator.engines.mysql.records import Records
from orchestrator.engines.mysql.store import Store
from orchestrator.model import Activity, History, LockHolder, SchemaObject, SchemaSnapshot, Target, Vitals


class Looks:
    """The methods of a session that change nothing, and the one that keeps a schema snapshot."""

    def __init__(self, connection: Any, target: Target, records: Records, lock: NamedLock) -> None:
        self.connection = connection
        self.target = target
        self._records = records
        self._lock = lock
        self._store = Store(connection, target, records)

    def read_history(self, extensions: Sequence[str] = ()) -> History:  # noqa: ARG002 - PostgreSQL has extensions
        """Return what the database remembers, both tables as they were at one moment."""
        with errors.mapped(self.target):
            return self._store.read(self._lock.is_ours())

    def place(self) -> str:
        """Return `History.place` of a database in which this session has just written records. It was read before."""
        return self._store.place

    def look(self, extensions: Sequence[str] = ()) -> tuple[History, LockHolder | None]:
        """Return what `read_history` does, and who holds the migration lock now."""
        return self.read_history(extensions), self.holder()

    def holder(self) -> LockHolder | None:
        """Return who holds the migration lock now."""
        return self._lock.holder()

    def keep(self) -> None:
        """Do nothing: connecting takes half a millisecond."""

    def prepare(self, extensions: Sequence[str]) -> None:
        """Do nothing: there are no extensions."""

    @contextmanager
    def watch(self) -> Iterator[Callable[[], Activity]]:
        """Give a function that asks, over a connection of its own, how far this session is and who has a transaction open."""
        from orchestrator.engines.mysql.blocking import watching

        with watching(self.target, self.connection.thread_id(), self._lock.tell_over) as look:
            yield look

    def schema_snapshot(self) -> SchemaSnapshot:
        """Return the schema as it is now, without the bookkeeping."""
        from orchestrator.engines.mysql.schema_snapshot import read_schema

        with errors.mapped(self.target):
            return read_schema(self.connection, self._records.tables)

    def kept_texts(self, version: int | None = None) -> Mapping[tuple[int, int], str]:
        """Return what the history keeps of the text of files, by version and attempt."""
        with errors.mapped(self.target):
            return self._store.texts(version)

    def server(self) -> str:
        """Return the product and its version, as `mariadb 10.11`: SHOW CREATE says the same in all releases of it."""
        told = str(self.connection.get_server_info())
        kind = "mariadb" if is_mariadb(self.connection) else "mysql"
        return f"{kind} {'.'.join(told.removeprefix('5.5.5-').split('.')[:2])}"

    def vitals(self) -> Vitals:
        """Ask for the server's time, and the rights of this login."""
        from orchestrator.engines.mysql.vitals import vitals

        with errors.mapped(self.target):
            return vitals(self.connection, self.target.database)

    def kept_snapshot(self) -> str:
        """Return what `keep_snapshot` stored last; '' if nothing."""
        with errors.mapped(self.target):
            return self._store.snapshot()

    def keep_snapshot(self, text: str) -> None:
        """Store a text beside the history, in place of the one before."""
        with errors.mapped(self.target):
            self._store.keep_snapshot(text)

    def is_bare(self, schema_object: SchemaObject) -> bool:
        """Return False: the server creates no schema objects by itself."""
        del schema_object
        return False
