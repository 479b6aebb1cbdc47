"""golang-migrate's lock document as a lease: it has an owner, expires by the server's clock, and is renewed.

golang-migrate inserts `{locking_key: 0, pid, hostname, created_at}` under a unique index, so both exclude each other. Ours
carries an owner token and `expires_at` besides. Every write of a holder renews the lease first, by its token: one that
lost it finds out before it writes.

Only one server acknowledges that the lock is taken, and nobody waits for the majority: what the holder writes under it comes
later in the same oplog, renews the lease, and is acknowledged by the majority, so by then the majority has the lock too. If
the primary is lost before that, the lock may be lost with it. The next renewal finds no document and writes nothing, and the
run takes the lock again. If the server is still the one that granted it, somebody removed the document, and the run ends.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from pymongo import ReturnDocument, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from orchestrator.engines.mongo.lock_document import aware, clock, machine, runs, writable
from orchestrator.engines.mongo.read_together import LOCK, SERVER_NOW
from orchestrator.errors import ConnectionLostError, LockError, OrchError
from orchestrator.hints import Command, Hint
from orchestrator.model import LockHolder

LEASE_SECONDS = 30
HEARTBEAT_EVERY = 5.0  # seconds
TRY_EVERY = 0.25  # seconds
_TRY_FOR = 0.5  # seconds
_STALLED_AFTER = 10.0  # seconds in which a transaction that is open got no command
_TIME_IS_UP, _WRITE_CONFLICT = 50, 112
_EXPIRE = {"$set": {"expires_at": datetime(2000, 1, 1, tzinfo=UTC)}}

# Leases that this process could not give back, because the line was cut: nobody works under them any more.
_abandoned: set[str] = set()


class Lease:
    """The lock of one database. `mutex` keeps the heartbeat still while it is held."""

    def __init__(
        self, collection: Collection[Any], session: ClientSession, database_id: str, actor: str, run_id: str
    ) -> None:
        self._collection = collection
        self._quick = collection.with_options(write_concern=WriteConcern(1))
        self._session = session
        self._database_id = database_id
        self._actor = actor
        self._run_id = run_id
        self._token = uuid.uuid4().hex
        self._over = threading.Event()
        self._fresh_until = 0.0
        self._durable = False
        self._granted_by = ""
        self._first = False
        self.mutex = threading.RLock()

    @contextmanager
    def held(self, wait: float, on_wait: Callable[[LockHolder], None]) -> Iterator[Lease]:
        """Hold the lease; LockError after `wait` seconds."""
        self._make_collection()
        deadline = time.monotonic() + wait
        while (document := self._try()) is None or document.get("owner") != self._token:
            holder = self._describe(document)
            if document is not None and self._is_dead(document):
                self._bury(document)
                continue
            if time.monotonic() >= deadline:
                hint = Hint("wait for it, or raise --lock-timeout")
                if document is not None and "expires_at" not in document:
                    never = "golang-migrate's lock never expires; if that process is gone: "
                    hint = Hint(never, Command("unlock", self._database_id))
                raise LockError(
                    f"{self._database_id} is locked by {holder.description}", detail=f"waited {wait:g} s", hint=hint
                )
            on_wait(holder)
            time.sleep(TRY_EVERY)
        beat = threading.Thread(target=self._heartbeat, name="orch-lease", daemon=True)
        beat.start()
        mine = {"locking_key": 0, "owner": self._token}
        ended = False
        try:
            if former := document.get("former"):
                self._end(former)
                self._collection.update_one(mine, {"$unset": {"former": ""}})
            ended = True
            yield self
        finally:
            self._over.set()
            beat.join()
            try:
                if ended:
                    self._collection.delete_one(mine)
                else:  # the document stays, for whoever comes next has to see to it; but nobody has to wait for us
                    self._collection.update_one(mine, _EXPIRE)
            except PyMongoError:  # what is not given back expires
                _abandoned.add(self._token)

    def is_first(self) -> bool:
        """Return True if nobody has locked this database before; only the first call does."""
        first, self._first = self._first, False
        return first

    def holder(self) -> LockHolder | None:
        """Return who the document names, if there is one. Whether its lease is over is asked of the server's clock."""
        return next((self._describe(document) for document in self._collection.aggregate(LOCK)), None)

    def told(self, document: dict[str, Any]) -> LockHolder:
        """Return whom a lock document names that was read by the stages of `LOCK`."""
        return self._describe(document)

    def remove(self, holder: LockHolder) -> None:
        """Delete the document, if it still names this holder; LockError if it does not."""
        document = self._collection.find_one({"locking_key": 0})
        if document is None:
            return
        if _key(document) != holder.key:
            raise LockError(
                f"the lock of {self._database_id} has a new holder: {self._describe(document).description}",
                hint=Hint("look again: ", Command("unlock", self._database_id)),
            )
        self._end(_sessions(document))
        self._collection.delete_one({name: document.get(name) for name in _IDENTITY})

    def renew(self, session: ClientSession | None = None) -> None:
        """Prolong the lease; LockError if somebody took it over, ConnectionLostError if a server lost it."""
        asked = _now()
        with self.mutex:
            found = self._collection.update_one(
                {"locking_key": 0, "owner": self._token}, [{"$set": {"expires_at": _expiry()}}], session=session
            )
        if not found.matched_count:
            self._refuse_to_go_on(session)
        if session is None:  # in a transaction it is not certain yet: an abort would undo it
            self._fresh_until = asked + LEASE_SECONDS / 2
            self._durable = True

    def _refuse_to_go_on(self, session: ClientSession | None) -> NoReturn:
        """Raise that the lock is lost. Only a server that stopped or stepped down can lose it by itself."""
        if self._durable or self._collection.find_one({"locking_key": 0}, session=session) is not None:
            raise LockError(
                f"the lock of {self._database_id} was taken over while this run was stalled",
                hint=Hint("nothing more was written; run again: ", Command("apply")),
            )
        again = Hint("nothing was written under it; run again: ", Command("apply"))
        if self._granted_by and self._granted_by == writable(self._collection.database.client):
            raise LockError(f"the lock of {self._database_id} was removed while this run held it", hint=again)
        raise ConnectionLostError(
            f"the server does not have the lock of {self._database_id} any more",
            detail="it stopped or stepped down a moment after it had granted the lock",
            hint=again,
        )

    def committed(self) -> None:
        """Remember that a transaction which renewed the lease was committed: the majority has it."""
        self._durable = True

    def check(self) -> None:
        """Prolong the lease if that was too long ago to rely on: this process may have been stopped since."""
        if _now() >= self._fresh_until:
            self.renew()

    def _make_collection(self) -> None:
        """Make the collection with golang-migrate's index, where they are missing.

        The index is made here, though golang-migrate makes it too before it locks: else a golang-migrate that was opened
        before its database was dropped would not find our document.
        """
        index = {"key": {"locking_key": -1}, "name": "lock_unique_key", "unique": True}
        command = {"createIndexes": self._collection.name, "indexes": [index], "writeConcern": {"w": 1}}
        reply = self._collection.database.command(command, session=self._session)
        self._first = bool(reply.get("createdCollectionAutomatically"))

    def _try(self) -> dict[str, Any] | None:
        """Take the lease if it is free or expired, and return who holds it now; None: somebody was a moment quicker.

        `$$NOW` in an upsert's filter is refused by mongod, so the decision stands in the update itself. A holder's open
        transaction would make the server wait with its answer for as long as that lives: then it is only read.
        """
        ours = {
            "owner": self._token,
            "run_id": self._run_id,
            "actor": self._actor,
            "pid": os.getpid(),
            "hostname": socket.gethostname(),
            "machine": machine(),
            "session": self._session.session_id,
        }
        document: dict[str, Any] = {name: {"$literal": value} for name, value in ours.items()}
        document |= {"created_at": "$$NOW", "expires_at": _expiry()}
        # Sessions of holders before us, until what the server still does for them has ended: should we die first, the next
        # one sees to it.
        last = {"$cond": [{"$eq": [{"$type": "$session"}, "missing"]}, [], ["$session"]]}
        document["former"] = {"$concatArrays": [{"$ifNull": ["$former", []]}, last]}
        # As numbers: for SecantusDB no stored date is before $$NOW.
        over = {"$lt": [{"$toLong": "$expires_at"}, {"$toLong": "$$NOW"}]}
        free = {
            "$or": [
                {"$eq": [{"$type": "$pid"}, "missing"]},  # the upsert's own new document
                {"$and": [{"$ne": [{"$type": "$expires_at"}, "missing"]}, over]},
            ]
        }
        # No holder of ours writes more than this: such a lease is of before the server's clock was set back, and one who is
        # at work writes another within seconds. golang-migrate's document has none.
        kept = {"$cond": [{"$eq": [{"$type": "$expires_at"}, "missing"]}, "$$REMOVE", _at_most("$expires_at")]}
        # One `$set` reads the document as it was before the stage, so all these conditions see the same.
        stays = {name: f"${name}" for name in document} | {"expires_at": kept}
        update = [{"$set": {name: {"$cond": [free, value, stays[name]]} for name, value in document.items()}}]
        self._granted_by = writable(self._collection.database.client)
        try:
            return self._quick.find_one_and_update(
                {"locking_key": 0},
                update,
                upsert=True,
                return_document=ReturnDocument.AFTER,
                maxTimeMS=round(_TRY_FOR * 1000),
            )
        except DuplicateKeyError:
            return None
        except OperationFailure as error:
            if error.code not in (_TIME_IS_UP, _WRITE_CONFLICT):
                raise
            self._end_stalled()
            return self._collection.find_one({"locking_key": 0})

    def _end_stalled(self) -> None:
        """End the open transaction of a holder that stopped in the middle of it, and whose lease is over.

        It would keep the document from everybody until the server ends it, after a minute or whatever it is set to. A holder
        that is at work sends one command after the other: it is not this one, however long its transaction takes.
        """
        over = {"$expr": {"$lt": [{"$toLong": "$expires_at"}, {"$toLong": "$$NOW"}]}}
        document = self._collection.find_one({"locking_key": 0, "expires_at": {"$exists": True}, **over})
        if document is None:
            return
        idle = {"active": False, "transaction.timeInactiveMicros": {"$gte": round(_STALLED_AFTER * 1_000_000)}}
        ids = [session["id"] for session in _sessions(document)]
        admin = self._collection.database.client.admin
        with suppress(OperationFailure):  # a right is missing, or this is no server with transactions
            if list(admin.aggregate([{"$currentOp": {}}, {"$match": {"lsid.id": {"$in": ids}, **idle}}])):
                admin.command("killSessions", _sessions(document))

    def _bury(self, document: dict[str, Any]) -> None:
        """Remove the lease of a dead process, with what the server still does for it: a transaction would live for a minute."""
        self._end(_sessions(document))
        self._collection.delete_one({"_id": document["_id"], "owner": document["owner"]})

    def _end(self, sessions: list[Any]) -> None:
        """End what the server does for these sessions, and wait for it: its work must not go on beside ours."""
        if not sessions:  # none at all would mean all of this login
            return
        admin = self._collection.database.client.admin
        ids = [session["id"] for session in sessions]
        running: list[dict[str, Any]] = [{"$currentOp": {}}, {"$match": {"active": True, "lsid.id": {"$in": ids}}}]
        deadline = _now() + LEASE_SECONDS
        with suppress(OperationFailure):  # not of our login, or a right is missing
            admin.command("killSessions", sessions)
            while list(admin.aggregate(running)):
                if _now() >= deadline:
                    raise LockError(
                        f"the server still runs what a killed run began on {self._database_id}",
                        hint=Hint("wait for its end (db.currentOp()), then run again: ", Command("apply")),
                    )
                time.sleep(TRY_EVERY)

    def _heartbeat(self) -> None:
        while not self._over.wait(HEARTBEAT_EVERY):
            try:
                self.renew()
            except OrchError:  # the next write of the holder asks again, and says so
                self._fresh_until = 0.0
            except PyMongoError:  # what is not renewed is not relied on for long
                pass

    def _describe(self, document: dict[str, Any] | None) -> LockHolder:
        if document is None:
            return LockHolder("somebody who has just taken it")
        since = document.get("created_at")
        ours = "run_id" in document
        who = f"orch/{document['run_id']} {document.get('actor', '')}" if ours else "golang-migrate"
        now = aware(document.get(SERVER_NOW, datetime.now(UTC)))
        over = ours and _is_over(document.get("expires_at"), now)
        return LockHolder(
            f"{who} (pid {document.get('pid')} on {document.get('hostname')}, since {clock(since, now)})",
            since if hasattr(since, "tzinfo") else None,
            _key(document),
            alive=not over and _is_here(document),
            leased=ours and not over and not self._is_dead(document),
        )

    def _is_dead(self, document: dict[str, Any]) -> bool:
        """Whether a lease of ours belongs to a process of this very machine and pid namespace that is gone."""
        if document.get("owner") in _abandoned:
            return True
        if "owner" not in document or document.get("machine") != machine() or not machine():
            return False
        return not Path(f"/proc/{document.get('pid')}").exists()


def _is_over(expires_at: Any, now: datetime) -> bool:
    """Whether a lease is over, as people are told. Who takes it has the server decide."""
    return not isinstance(expires_at, datetime) or aware(expires_at) < now


def _is_here(document: dict[str, Any]) -> bool:
    """Whether the process that a lock document names runs on this machine."""
    if document.get("owner") in _abandoned or not runs(document.get("pid")):
        return False
    if "machine" in document:
        return bool(machine()) and document["machine"] == machine()
    return document.get("hostname") == socket.gethostname()


def _now() -> float:
    """Return seconds that go on while this machine sleeps; on Linux those of `time.monotonic` do not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _expiry() -> dict[str, Any]:
    return {"$add": ["$$NOW", LEASE_SECONDS * 1000]}


def _at_most(expires_at: str) -> dict[str, Any]:
    """Return this field, or the latest end that a lease can have, whichever is sooner."""
    return {"$cond": [{"$gt": [{"$toLong": expires_at}, {"$toLong": _expiry()}]}, _expiry(), expires_at]}


# What tells one holding of the lock from the next; the rest changes while it is held, as its age does.
_IDENTITY = ("_id", "pid", "hostname", "created_at", "owner")


def _sessions(document: dict[str, Any]) -> list[Any]:
    """Return the sessions under which a holder of ours, and those it took over from, may still be at work."""
    return [*document.get("former", ()), *([document["session"]] if "session" in document else ())]


def _key(document: dict[str, Any]) -> str:
    return repr([document.get(name) for name in _IDENTITY])
