"""Look who holds the migration lock of a database, and remove it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from orchestrator.engines.base import Session
from orchestrator.errors import LockError
from orchestrator.events import Sink
from orchestrator.hints import Command, Hint
from orchestrator.model import LockHolder
from orchestrator.operations.scope import Scope, the_one


@dataclass(frozen=True)
class Lock:
    """The lock of a database. `holder` is None if nobody holds it."""

    id: str
    holder: LockHolder | None
    _session: Session

    def check(self, *, terminate: bool) -> None:
        """Raise LockError if a running session holds it, and that must not be ended."""
        if self.holder is not None and self.holder.alive and not terminate:
            raise LockError(
                f"the lock of {self.id} is held by a running session, and is not removed",
                hint=Hint("let it finish; to end that session: ", Command("unlock", self.id, "--terminate")),
            )

    def remove(self, *, terminate: bool) -> None:
        """Remove the lock, and with `terminate` end the session that holds it. LockError if somebody else has it now."""
        self.check(terminate=terminate)
        if self.holder is not None:
            self._session.unlock(self.holder, terminate=terminate)


@contextmanager
def lock_of(scope: Scope, sink: Sink, name: str) -> Iterator[Lock]:
    """Lend the lock of the database of this name, over one session. UsageError if the name means several."""
    assembly = replace(scope, only=[name], no_deps=True).assemble()
    id = the_one(assembly, name)
    run = scope.run(assembly, sink)
    with run.engines[run.targets[id].engine].connect(run.targets[id]) as session:
        yield Lock(id, session.holder(), session)
