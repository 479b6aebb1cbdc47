"""A database in memory that can be cut off between any two of its writes: for thousands of runs in a second.

Its language has one statement a line: `add X`, `remove X`; `alone add X` cannot stand in a transaction; `blind add X` cannot
be found out either. Doing something twice is seen: things are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from orchestrator.engines.base import Effect, Limits
from orchestrator.errors import StatementError
from orchestrator.model import (
    Blocking,
    CreateOptions,
    File,
    History,
    LockHolder,
    Pointer,
    Revision,
    Script,
    Statement,
    Target,
)


class Killed(BaseException):
    """The process ends here, as by SIGKILL: nothing that follows is done."""


@dataclass
class Store:
    """What survives a kill. Without `transactions` every write stands for itself, as on a standalone mongod."""

    transactions: bool = True
    things: Counter[str] = field(default_factory=Counter)
    revisions: dict[tuple[int, int], Revision] = field(default_factory=dict)
    pointer: Pointer | None = None
    exists: bool = False
    locked: bool = False
    points: int = 0
    kill_at: int = 0

    def point(self) -> None:
        """Come past a place where a run may be killed."""
        self.points += 1
        if self.points == self.kill_at:
            raise Killed

    def do(self, words: str) -> None:
        """Change the things."""
        verb, _, thing = words.rpartition(" ")
        if verb == "remove" and not self.things[thing]:
            raise StatementError(f"there is no {thing}", code="missing")
        self.things[thing] += 1 if verb == "add" else -1

    def state(self) -> dict[str, int]:
        """Return what is there, and how many times."""
        return {thing: count for thing, count in sorted(self.things.items()) if count}


class Memory:
    """The engine."""

    name = "memory"

    def __init__(self, store: Store) -> None:
        self._store = store

    def parse(self, file: File, text: str, *, piecewise: bool = False) -> Script:
        statements = []
        offset = 0
        for number, line in enumerate(text.splitlines(), 1):
            kind, _, rest = line.partition(" ")
            alone = kind in ("alone", "blind")
            if line:
                statements.append(Statement(line, rest if alone else line, offset, number, atomic=not alone))
            offset += len(line) + 1
        return Script(file, text, tuple(statements), all(statement.atomic for statement in statements))

    def check(self, target: Target) -> None: ...

    def create(self, target: Target, options: CreateOptions) -> bool:
        self._store.point()
        self._store.exists = True
        return True

    @contextmanager
    def connect(self, target: Target, until: float | None = None) -> Iterator[MemorySession]:
        yield MemorySession(self._store)

    def close(self) -> None:
        pass


class MemorySession:
    """A session of the memory engine."""

    watched_after = None

    def __init__(self, store: Store) -> None:
        self._store = store

    def read_history(self, extensions: Sequence[str] = ()) -> History:
        store = self._store
        return History(store.exists, bool(store.revisions), store.pointer, tuple(store.revisions.values()))

    def keep(self) -> None:
        pass

    @contextmanager
    def lock(self, wait: float, on_wait: Callable[[LockHolder], None]) -> Iterator[None]:
        self._store.point()
        self._store.locked = True  # and it stays so when the process is killed, as MongoDB's lock document does
        try:
            yield
        except Exception:
            self._store.locked = False
            raise
        self._store.locked = False

    def look(self, extensions: Sequence[str] = ()) -> tuple[History, LockHolder | None]:
        return self.read_history(extensions), None

    def holder(self) -> LockHolder | None:
        return None

    def unlock(self, holder: LockHolder, *, terminate: bool = False) -> None:
        pass

    def prepare(self, extensions: Sequence[str]) -> None:
        pass

    def begin(self, revision: Revision, statements: Sequence[Statement], limits: Limits) -> None:
        pass

    def commits(self, statement: Statement) -> bool:
        return statement.atomic and self._store.transactions

    def commits_together(self, script: Script) -> bool:
        return script.atomic and self._store.transactions

    def commit(
        self, statements: Sequence[Statement], revisions: Sequence[Revision], pointer: Pointer | None, limits: Limits
    ) -> None:
        store = self._store
        store.point()
        if store.transactions:
            before = Counter(store.things)
            try:
                for statement in statements:
                    store.do(statement.body)
            except StatementError as error:
                store.things = before
                error.statement = statement
                raise
            for revision in revisions:
                self._record(revision)
            store.pointer = pointer or store.pointer
            store.point()
            return
        void = [r for r in revisions if not (r.done or r.applied or r.in_flight)]
        for revision in revisions:
            if revision not in void:
                self._record(revision._replace(done=False))
                store.point()
        if pointer is not None:
            store.pointer = pointer
            store.point()
        for revision in revisions:
            if revision.done or revision in void:
                self._record(revision)
                store.point()

    def _record(self, revision: Revision) -> None:
        self._store.revisions[revision.version, revision.attempt] = revision

    def execute(self, statement: Statement, limits: Limits) -> None:
        self._store.point()
        try:
            self._store.do(statement.body)
        except StatementError as error:
            error.statement = statement
            raise
        self._store.point()

    def probe(self, statement: Statement, limits: Limits) -> tuple[Effect, str]:
        if statement.source.startswith("blind"):
            return Effect.UNKNOWN, "it leaves no trace"
        verb, _, thing = statement.body.rpartition(" ")
        done = bool(self._store.things[thing]) == (verb == "add")
        return (
            Effect.DONE if done else Effect.NOT_DONE
        ), f"{thing} is {'' if self._store.things[thing] else 'not '}there"

    def messages(self) -> list[tuple[str, str]]:
        return []

    @contextmanager
    def watch(self) -> Iterator[Callable[[], Blocking | None]]:
        yield lambda: None

    def cancel(self) -> None:
        pass
