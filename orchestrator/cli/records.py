"""What commands share that write records of one database and run none of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.cli.console import say
from orchestrator.engines.base import Limits, Session
from orchestrator.errors import DatabaseMissingError, StalePlanError, UsageError
from orchestrator.execution.run import lock_wait
from orchestrator.model import Database, History, Migration, Target
from orchestrator.operations.assembly import Assembly, assemble
from orchestrator.planning.history import digest
from orchestrator.planning.repair import Signature, Way

if TYPE_CHECKING:
    from orchestrator.engines.base import Engine


class OneDatabase:
    """One database of the manifest, with its files and its server."""

    def __init__(self, name: str, file: str | None, env_file: str | None, *, embedded: bool) -> None:
        self.assembly: Assembly = assemble(file, env_file, [name], None, no_deps=True)
        if len(self.assembly.databases) != 1:
            raise UsageError(f"'{name}' names {len(self.assembly.databases)} databases", hint="name one")
        self.database: Database = self.assembly.databases[0]
        self.migrations: tuple[Migration, ...] = self.assembly.catalogs()[self.database.id]
        self.target: Target = self.assembly.targets(embedded=embedded)[self.database.id]
        self.engine: Engine = self.assembly.engine(self.database.engine)

    @property
    def id(self) -> str:
        """The full name."""
        return self.database.id

    def signature(self, reason: str) -> Signature:
        """Return who does this, and why."""
        from orchestrator import __version__

        return Signature(self.assembly.actor, self.assembly.run_id, __version__, reason)

    def read(self) -> History:
        """Return the history; DatabaseMissingError if there is no such database."""
        with self.session() as session:
            history = session.read_history()
        if not history.exists:
            raise DatabaseMissingError(f"{self.id} does not exist", hint="orch apply creates it")
        return history

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session."""
        with self.engine.connect(self.target) as session:
            yield session

    def write(self, decide: Callable[[History], Way], seen: History, lock_timeout: float | None) -> Way:
        """Record a way under the lock, if the history still is what was seen."""
        with (
            self.session() as session,
            session.lock(
                lock_wait(self.target, lock_timeout),
                lambda holder: say(f"waiting for the lock, held by {holder.description}"),
            ),
        ):
            history = session.read_history()
            if digest(history) != digest(seen):
                raise StalePlanError(f"{self.id} changed while you were looking", hint="run the command again")
            way = decide(history)
            session.commit((), way.revisions, way.pointer, Limits())
        return way
