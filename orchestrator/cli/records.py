"""What commands share that write records of one database and run none of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.cli.console import say
from orchestrator.engines.base import Limits, Session
from orchestrator.errors import DatabaseMissingError, StalePlanError, UsageError
from orchestrator.execution.run import lock_wait
from orchestrator.hints import Command, Hint
from orchestrator.model import Database, History, LockHolder, Migration, Target
from orchestrator.operations.assembly import Assembly, assemble
from orchestrator.planning.attempts import digest
from orchestrator.planning.repair import Resolution, Signature

if TYPE_CHECKING:
    from orchestrator.engines.base import Engine


def several(names: Sequence[str], file: str | None, env_file: str | None, *, embedded: bool) -> list[OneDatabase]:
    """Return the databases that these names, globs and labels mean."""
    assembly = assemble(file, env_file, names, None, no_deps=True)
    catalogs, targets = assembly.catalogs(), assembly.targets(embedded=embedded)
    return [OneDatabase(assembly, one, catalogs[one.id], targets[one.id]) for one in assembly.databases]


def one_database(name: str, file: str | None, env_file: str | None, *, embedded: bool) -> OneDatabase:
    """Return the one database that a name means; UsageError if it means several."""
    found = several([name], file, env_file, embedded=embedded)
    if len(found) != 1:
        raise UsageError(f"'{name}' names {len(found)} databases", hint="name one")
    return found[0]


@dataclass(frozen=True)
class OneDatabase:
    """One database of the manifest, with its files and its server."""

    assembly: Assembly
    database: Database
    migrations: tuple[Migration, ...]
    target: Target

    @property
    def engine(self) -> Engine:
        """The engine, with its driver."""
        return self.assembly.engine(self.database.engine)

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
            raise DatabaseMissingError(f"{self.id} does not exist", hint=Hint(Command("apply"), " creates it"))
        return history

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session."""
        with self.engine.connect(self.target) as session:
            yield session

    def write(self, decide: Callable[[History], Resolution], seen: History, lock_timeout: float | None) -> Resolution:
        """Record a way under the lock, if the history still is what was seen."""
        told: set[str] = set()

        def waiting(holder: LockHolder) -> None:
            if holder.key not in told:  # it is asked again and again
                told.add(holder.key)
                say(f"{self.id}: waiting for the lock, held by {holder.description}")

        with (
            self.session() as session,
            session.lock(lock_wait(self.target, lock_timeout), waiting),
        ):
            history = session.read_history()
            if digest(history) != digest(seen):
                raise StalePlanError(f"{self.id} changed while you were looking", hint="run the command again")
            resolution = decide(history)
            session.commit((), resolution.attempts, resolution.version_row, Limits())
        return resolution
