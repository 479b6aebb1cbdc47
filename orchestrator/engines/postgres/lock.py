"""golang-migrate's advisory lock of a database: taking it, giving it back, who has it, and what makes it worthless."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import ExecStatus

from orchestrator.engines.postgres import errors
from orchestrator.engines.postgres.lock_holder import TERMINATE, asks_holder, holder_of
from orchestrator.engines.postgres.record_tables import QUESTION
from orchestrator.engines.postgres.tables import Tables
from orchestrator.errors import LockError
from orchestrator.model import Attempt, History, LockHolder, Target

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from orchestrator.engines.postgres.file_in_pieces import FileInPieces
    from orchestrator.engines.postgres.message import Message
    from orchestrator.engines.postgres.record_guard import RecordGuard

CONNECT_TIMEOUT = 10  # seconds, unless the DSN says otherwise
_TRY_LOCK_EVERY = 0.25  # seconds
_POOLER_TRIES = 3
_BACKEND = "pg_catalog.pg_backend_pid()"


class AdvisoryLock:
    """The lock of one database, over the connection of its session.

    `last` says that nothing is written after the file that runs next: the message that finishes it gives the lock back.
    """

    def __init__(self, connection: psycopg.Connection[Any], target: Target, tables: Tables) -> None:
        self._connection = connection
        self._target = target
        self._tables = tables
        self._held: int | None = None  # the key
        self.last = False

    def take_on_trust(self, pieces: FileInPieces) -> tuple[int, History | None] | None:
        """Take the lock and look for the tables in one round trip, as if they were where this server's tables usually are.

        Returns what `take` does. None if they are elsewhere or somebody has the lock: then nothing is held, and the caller
        looks for the tables and calls `take`.
        """
        if (key := self._tables.usual_key) is None:
            return None
        # Behind a pooler another backend may answer: nothing may be held there, nor set.
        here = f"{_BACKEND} = {self._connection.info.backend_pid}"

        def taking(key: int) -> str:
            return f"{_try_twice(key, pieces.settings)} WHERE {here}"

        if self._tables.pristine:
            taken, history = self._tables.look_after(taking(key)), None
            right = self._tables.lock_key() == key
        elif answer := self._tables.look_and_read((), taking, QUESTION):
            taken, history, right = answer.first, answer.history, True
            if taken:
                pieces.writer.guard.learn(answer.last)
        else:  # a lock with the wrong key may be held now
            right = False
        if not right:
            self._tables.ask(f"SELECT pg_catalog.pg_advisory_unlock_all() WHERE {here}")
            return None
        return (self._has(self._tables.lock_key()), history) if taken else None

    def take(
        self, deadline: float, wait: float, on_wait: Callable[[LockHolder], None], pieces: FileInPieces
    ) -> tuple[int, History | None]:
        """Take the lock, twice; return its key, and the history if it came in the same round trip.

        Tries until `deadline` (monotonic time), which is in `wait` seconds. The settings of `pieces` are made in the same
        statement. LockError if somebody else has it until then.
        """
        key = self._tables.lock_key()
        while (taken := self._try(_try_twice(key, pieces.settings), pieces.writer.guard)) is None:
            holder = self.holder(key) or LockHolder("somebody who has just let go")
            if time.monotonic() >= deadline:
                raise LockError(
                    f"{self._target.database_id} is locked by {holder.description}",
                    detail=f"waited {wait:g} s",
                    hint="wait for it, or raise --lock-timeout",
                )
            on_wait(holder)
            time.sleep(_TRY_LOCK_EVERY)
        return self._has(key), taken[0]

    def _has(self, key: int) -> int:
        self._held, self.last = key, False
        return key

    def _try(self, query: str, guard: RecordGuard) -> tuple[History | None] | None:
        """Try the lock; None: somebody has it. What is wanted next, whoever has it, comes in the same round trip."""
        if not self._tables.complete:
            return (None,) if self._tables.ask(query)[0] else None
        answer = self._tables.read_after(query, also=QUESTION)
        if not answer.first:
            return None
        guard.learn(answer.last)
        return (answer.history,)

    def give_back(self) -> None:
        """Give the lock back, twice, unless a message has done so."""
        held, self._held = self._held, None
        if held is not None:
            self._connection.execute(_giving_back(held).encode())

    def give_back_with(self, message: Message, attempts: Sequence[Attempt]) -> None:
        """Let a message that ends with COMMIT give the lock back behind it, if it finishes the last file."""
        if self.last and self._held is not None and attempts and all(attempt.done for attempt in attempts):
            message.put(f"; {_giving_back(self._held)}")
            message.committed = True

    def given_back(self, results: Sequence[PGresult]) -> None:
        """Take note of the results of a message, which may have given the lock back."""
        if self.last and results[-1].status == ExecStatus.TUPLES_OK:
            self._held = None

    def holder(self, key: int) -> LockHolder | None:
        """Return who holds the lock."""
        row = self._tables.ask(asks_holder(key))
        return holder_of(row[0])

    def end(self, holder: LockHolder, *, terminate: bool) -> None:
        """End the session of the holder, which releases the lock. No advisory lock outlives its session."""
        from orchestrator.engines.lock_holders import end_holder

        key = self._tables.lock_key()

        def terminated() -> None:
            with errors.mapped(self._connection, self._target):
                self._connection.execute(TERMINATE, (holder.key,))

        end_holder(
            self._target.database_id, holder, terminate=terminate, end=terminated, current=lambda: self.holder(key)
        )

    def refuse_pooler(self) -> None:
        """A session lock means nothing behind a pooler that hands the server session to others between transactions."""
        if self._tables.server_pid == self._connection.info.backend_pid:
            return
        # A pooler in transaction mode lends the session that served us last to the next who opens a transaction, or
        # another one to us. A busy one may do so by chance only: ask several times.
        for _ in range(_POOLER_TRIES):
            with suppress(psycopg.Error), self._borrowed() as theirs:
                if (
                    theirs != self._tables.server_pid
                    and self._tables.ask(f"SELECT {_BACKEND}")[0] == self._tables.server_pid
                ):
                    continue
            raise LockError(
                f"{self._target.database_id} is behind a pooler in transaction mode, where a lock protects nothing",
                hint="give orch a DSN that goes to the server itself, or to a pool in session mode",
            )

    @contextmanager
    def _borrowed(self) -> Iterator[int]:
        """Open a transaction on a second connection, and tell which server session serves it."""
        with psycopg.connect(self._target.url.reveal(), autocommit=True, connect_timeout=CONNECT_TIMEOUT) as other:
            # A pool that has no session left lets us wait: that tells as little as an error would.
            timer = threading.Timer(CONNECT_TIMEOUT, other.cancel_safe)
            timer.start()
            try:
                with other.transaction():
                    row = other.execute(f"SELECT {_BACKEND}".encode()).fetchone()
                    yield row[0] if row else 0
            finally:
                timer.cancel()


def _giving_back(key: int) -> str:
    """Return the query that gives the lock back, which was taken twice."""
    return f"SELECT pg_catalog.pg_advisory_unlock({key}), pg_catalog.pg_advisory_unlock({key})"


def _try_twice(key: int, settings: str) -> str:
    """Return the query that takes the lock twice, if it is free, and makes our settings."""
    take = f"pg_catalog.pg_try_advisory_lock({key})"
    return f"SELECT {take} AND {take}{settings}"
