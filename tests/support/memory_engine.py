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
    NO_CHECKS,
    Activity,
    Attempt,
    Checks,
    CreateOptions,
    File,
    History,
    LockHolder,
    Script,
    Statement,
    Target,
    VersionRow,
    Vitals,
)


class Killed(BaseException):
    """The process ends here, as by SIGKILL: nothing that follows is done."""


@dataclass
class Store:
    """What survives a kill. Without `transactions` every write stands for itself, as on a standalone mongod."""

    transactions: bool = True
    schema_objects: Counter[str] = field(default_factory=Counter)
    attempts: dict[tuple[int, int], Attempt] = field(default_factory=dict)
    version_row: VersionRow | None = None
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
        verb, _, schema_object = words.rpartition(" ")
        if verb == "remove" and not self.schema_objects[schema_object]:
            raise StatementError(f"there is no {schema_object}", code="missing")
        self.schema_objects[schema_object] += 1 if verb == "add" else -1

    def state(self) -> dict[str, int]:
        """Return what is there, and how many times."""
        return {schema_object: count for schema_object, count in sorted(self.schema_objects.items()) if count}


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

    tells_of_lock = False

    def __init__(self, store: Store) -> None:
        self._store = store

    def read_history(self, extensions: Sequence[str] = ()) -> History:
        store = self._store
        return History(store.exists, bool(store.attempts), store.version_row, tuple(store.attempts.values()))

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

    def begin(self, attempt: Attempt, statements: Sequence[Statement], limits: Limits) -> None:
        pass

    def commits(self, statement: Statement) -> bool:
        return statement.atomic and self._store.transactions

    def commits_together(self, script: Script) -> bool:
        return script.atomic and self._store.transactions

    def commit(
        self,
        statements: Sequence[Statement],
        attempts: Sequence[Attempt],
        version_row: VersionRow | None,
        limits: Limits,
        checks: Checks = NO_CHECKS,
    ) -> None:
        store = self._store
        store.point()
        if store.transactions:
            before = Counter(store.schema_objects)
            try:
                for statement in statements:
                    store.do(statement.body)
            except StatementError as error:
                store.schema_objects = before
                error.statement = statement
                raise
            for attempt in attempts:
                self._record(attempt)
            store.version_row = version_row or store.version_row
            store.point()
            return
        void = [r for r in attempts if not (r.done or r.applied or r.in_flight)]
        for attempt in attempts:
            if attempt not in void:
                self._record(attempt._replace(done=False))
                store.point()
        if version_row is not None:
            store.version_row = version_row
            store.point()
        for attempt in attempts:
            if attempt.done or attempt in void:
                self._record(attempt)
                store.point()

    def _record(self, attempt: Attempt) -> None:
        self._store.attempts[attempt.version, attempt.number] = attempt

    def kept_texts(self, version: int | None = None) -> dict[tuple[int, int], str]:
        return {(a.version, a.number): a.texts for a in self._store.attempts.values() if a.texts}

    def server(self) -> str:
        return "memory 1"

    def vitals(self) -> Vitals:
        return Vitals()

    def kept_snapshot(self) -> str:
        return ""

    def keep_snapshot(self, text: str) -> None:
        pass

    def ask(self, check: Statement, limits: Limits) -> None:
        pass

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
        verb, _, schema_object = statement.body.rpartition(" ")
        done = bool(self._store.schema_objects[schema_object]) == (verb == "add")
        return (
            Effect.DONE if done else Effect.NOT_DONE
        ), f"{schema_object} is {'' if self._store.schema_objects[schema_object] else 'not '}there"

    def messages(self) -> list[tuple[str, str]]:
        return []

    @contextmanager
    def watch(self) -> Iterator[Callable[[], Activity]]:
        yield Activity

    def cancel(self) -> None:
        pass
