"""The records of one database: the history and golang-migrate's collection, read and written."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any

from bson import DatetimeMS, Int64, json_util
from pymongo import MongoClient, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.database import Database as MongoDatabase
from pymongo.errors import OperationFailure

from orchestrator.engines import foreign
from orchestrator.engines.identity import Identity, document, told, written_elsewhere
from orchestrator.engines.mongo import errors
from orchestrator.engines.mongo.read_together import MAX_ROWS, NOTHING, read_together
from orchestrator.errors import ConflictError
from orchestrator.hints import Blank, Command, Hint
from orchestrator.model import Attempt, History, Origin, Target, VersionRow, read_attempt
from orchestrator.records import NamedTuple

_DEFAULT = "schema_migrations"
_TIME = "started_at"  # in every record but the one that a history is made with
_KINDS = {"timeseries": "time series collection"}


class ServerNames(NamedTuple):
    """What a server calls itself: the members of its replica set, and its process, until it is started again."""

    members: tuple[str, ...]
    process: str


class Records:
    """Reads and writes the records of one database. `check` is called before each write outside of a transaction."""

    def __init__(
        self,
        client: MongoClient[Any],
        session: ClientSession,
        target: Target,
        database: MongoDatabase[Any],
        servers: ServerNames,
        check: Callable[[ClientSession | None], None],
    ) -> None:
        self._client = client
        self._session = session
        self._target = target
        self._database = database
        self._servers = servers
        self._check = check
        self.versions = self._database[target.parameters.get("x-migrations-collection") or _DEFAULT]
        own_history = target.history_name + ("" if self.versions.name == _DEFAULT else f"_{self.versions.name}")
        self.history = self._database[own_history]
        self.locks = self._database[target.parameters.get("x-advisory-lock-collection") or "migrate_advisory_lock"]
        self.bookkeeping = {collection.name for collection in (self.versions, self.history, self.locks)}
        self.bookkeeping.add(f"{self.history.name}_snapshot")
        self._has_store = False
        self._begun = False  # a run made the history, and recorded nothing yet
        self._several_rows = False
        self._stored: tuple[str, ...] = ()  # identities in the rows that were read last
        self._uuid: str | None = None  # of the history's collection; None: not asked yet

    def read(self, *, locked: bool, new: bool = False) -> History:
        """Read history and version table. `locked`: nobody else writes to them meanwhile. `new`: none of them may be there."""
        return self.read_with_lock(locked=locked, new=new)[0]

    def read_with_lock(self, *, locked: bool, new: bool = False) -> tuple[History, dict[str, Any] | None]:
        """Read history, version table and the document of the migration lock, in one command where the server can."""
        with errors.mapped(self._target):
            # Asked under the lock: another run may have come between the one that made the lock's collection and its turn.
            names = self._collections() if new else None
            if names is not None and self.bookkeeping.isdisjoint(names - {self.locks.name}):
                found = NOTHING
            else:
                found = read_together(self.versions, self.history, self.locks, self._session)
            if found.views:
                self.refuse_others()
            documents, last = found.before, found.after
            attempts = self._attempts(found.history)
            if documents and not attempts and self._keep_shared_history():
                attempts = self._attempts()
            # Two reads: unless we hold the lock, a run may write between them. They fit if the version table is still the
            # same after the history was read.
            while attempts and not locked and documents != last:
                documents, attempts, last = last, self._attempts(), self._version_documents()
            self._has_store = self._begun or bool(attempts)
            rows = list(dict.fromkeys(map(self._read_version, documents)))
            self._several_rows = len(documents) > 1
            exists, others, emptied = True, 0, False
            if not rows and not attempts:
                names = self._collections() if names is None else names
                exists = self._is_listed() if names is None else bool(names)
                others, emptied = self._unrecorded(names or ())
                emptied = emptied and not self._begun
            if emptied and not locked:
                # Collections of a run that began after the first read. Its rows are there now, or its lock still is.
                found = read_together(self.versions, self.history, self.locks, self._session)
                if found.history or found.after:
                    return self.read_with_lock(locked=False)
                emptied = found.lock is None
        history = History(
            exists,
            self._has_store,
            rows[0] if rows else None,
            attempts,
            unrecorded=0 if emptied else others,
            emptied=emptied,
            rows=tuple(sorted(rows, key=lambda row: row.version or 0)) if len(rows) > 1 else (),
            elsewhere=self._elsewhere(),
            place=self._place(),
        )
        return history, found.lock

    def _keep_shared_history(self) -> bool:
        """Go on in the history of an earlier release, which called all the same, where no other set can have written it.

        Return whether there is one.
        """
        shared = self._database[self._target.history_name]
        if self.history.name == shared.name or self._database[_DEFAULT].find_one({"dirty": {"$exists": True}}):
            return False
        if shared.find_one({_TIME: {"$exists": True}}, session=self._session) is None:
            return False
        self.history = shared
        self.bookkeeping.add(shared.name)
        return True

    def _place(self) -> str:
        process = self._servers.process
        return f"{process} {self._target.database} {self.versions.name}" if process else ""

    def _elsewhere(self) -> str:
        """Return where the rows were written, '' if that is here. The server is asked only if its names leave it open."""
        here = Identity(self._servers.members, "", self._target.database)
        if not written_elsewhere(self._stored, here):
            return ""
        with errors.mapped(self._target):
            here = self._identity()
        return told(written_elsewhere(self._stored, here), here)

    def _identity(self) -> Identity:
        """Return which database this is. The UUID of a collection stays when servers change, and a copy has another."""
        if self._uuid is None:
            try:
                found = self._database.list_collections(session=self._session, filter={"name": self.history.name})
                self._uuid = "".join(str(one["info"]["uuid"]) for one in found if "uuid" in one.get("info", ()))
            except OperationFailure:  # not needed for anything else
                self._uuid = ""
        return Identity(self._servers.members, self._uuid, self._target.database)

    def whose(self, attempt: Attempt) -> str:
        """Return what a row of this attempt says of where it was written."""
        if self._target.scratch:
            return ""
        stored = document(self._identity())
        if attempt.origin is Origin.MOVED:  # whatever the rows say so far is of this database from now on
            stored["took_over"] = [document(one) for one in written_elsewhere(self._stored, Identity((), "", ""))]
        return json.dumps(stored)

    def _attempts(self, rows: Iterable[dict[str, Any]] | None = None) -> tuple[Attempt, ...]:
        """Return the attempts in these documents of the history, which is read where they are None."""
        found = []
        stored: dict[str, None] = {}
        self._begun = False
        for row in self.history.find({}, {"texts": 0}, session=self._session) if rows is None else rows:
            if isinstance(whose := row.get("identity"), str):
                stored[whose] = None
            try:
                attempt = read_attempt(row)
            except (KeyError, TypeError, ValueError, ArithmeticError):
                attempt = None
            if attempt is None or DatetimeMS in map(type, attempt):  # no time of ours
                raise ConflictError(
                    f"{self._target.database_id}: the document {row['_id']!r} in {self.history.name} is no record of orch",
                    hint="who wrote or changed it? Put it back as it was",
                )
            if _TIME not in row and not (attempt.done or attempt.applied or attempt.in_flight):
                self._begun = True
                continue
            found.append(attempt)
        self._stored = tuple(stored)
        return tuple(found)

    def _version_documents(self) -> list[dict[str, Any]]:
        """Return golang-migrate's document; of several enough to see that they contradict each other."""
        return list(self.versions.find(session=self._session, limit=MAX_ROWS))

    def _read_version(self, document: dict[str, Any]) -> VersionRow:
        version, dirty = self._version(document), bool(document.get("dirty"))
        return VersionRow(None if version == -1 and not dirty else version, dirty)

    def _version(self, document: dict[str, Any]) -> int:
        """Return the version in golang-migrate's document, which people sometimes write by hand."""
        version: Any = document.get("version")
        whole = version.is_integer() if isinstance(version, float) else isinstance(version, int)
        if whole and not isinstance(version, bool):
            return int(version)
        if not {"version", "dirty"} & document.keys():
            raise ConflictError(
                f"{self._target.database_id}: {self.versions.name} is not golang-migrate's collection but another tool's",
                detail=f"a document in it has the fields {', '.join(document)}; golang-migrate's are version and dirty",
                hint=Hint(
                    "give orch one of its own: x-migrations-collection=orch_migrations in the DSN; "
                    "and if these migrations have run already: ",
                    Command("baseline", self._target.database_id, "--version", Blank("VERSION")),
                ),
            )
        raise ConflictError(
            f"{self._target.database_id}: the version in {self.versions.name} is no whole number",
            detail=f"the document is {json_util.dumps(document)[:500]}",
            hint=f"set it as golang-migrate does: db.{self.versions.name}.updateOne({{}}, {{$set: {{version: Long(1)}}}})",
        )

    def _collections(self) -> set[str] | None:
        """Return the names of the collections, of which every database has one; None where they may not be listed."""
        try:
            return set(self._database.list_collection_names(session=self._session))
        except OperationFailure:  # not needed for anything else
            return None

    def _is_listed(self) -> bool:
        """Whether the server lists the database among those that this login may know of."""
        wanted = {"name": self._target.database}
        reply = self._client.admin.command("listDatabases", nameOnly=True, filter=wanted, session=self._session)
        return bool(reply["databases"])

    def _unrecorded(self, names: Collection[str]) -> tuple[int, bool]:
        """Return how many collections there are that are not ours, and whether beside them the history is there and empty.

        Without them it is what a run leaves that was killed before its first record.
        """
        others = sum(name not in self.bookkeeping and not name.startswith("system.") for name in names)
        return others, bool(others) and self.history.name in names

    def refuse_others(self) -> None:
        """Raise ConflictError if a view, a time series or a capped collection is in the place of one of ours."""
        wanted = {"name": {"$in": [one.name for one in (self.versions, self.history, self.locks)]}}
        try:
            found = list(self._database.list_collections(session=self._session, filter=wanted))
        except OperationFailure:  # the right to list is not needed for anything else
            return
        for one in found:
            kind = "capped collection" if one["options"].get("capped") else one["type"]
            if kind != "collection":
                raise foreign.no_collection(self._target.database_id, one["name"], _KINDS.get(kind, kind))

    def create_store(self, first: Attempt) -> None:
        """Make the two collections before a transaction needs them. `first` is the attempt that will be recorded first.

        A history without any document would be taken for one that was emptied, so it is made with the record of this attempt
        before it began. That record has no effect, and no times: the next write of the attempt replaces it. It does not
        wait for the majority. The next write does, and the server replicates in the order of the writes.
        """
        if self._has_store:
            return
        quick = self._database.with_options(write_concern=WriteConcern(1))
        with suppress(OperationFailure):  # 48: it is there
            quick.create_collection(self.versions.name, check_exists=False, session=self._session)
        values = self._values(first._replace(applied=0, in_flight=False, prefix="", done=False, texts=""))
        with suppress(OperationFailure):  # 11000: another run was quicker
            quick[self.history.name].insert_one({"_id": _key(first), **values}, session=self._session)
        self._has_store = True

    def write_in_order(self, attempts: Sequence[Attempt], version_row: VersionRow | None) -> None:
        """Without transactions: what was done, then the version table, then that it is finished. Each gap can be told apart.

        A try that had no effect is let go last: until the version table is back, its record explains what the version table says.
        """
        void = [r for r in attempts if not (r.done or r.applied or r.in_flight)]
        for attempt in attempts:
            if attempt not in void:
                self.upsert(attempt, 0, None, self.whose(attempt), done=False)
        if version_row is not None:
            self.point(version_row, None)
        for attempt in attempts:
            if attempt.done or attempt in void:
                self.upsert(attempt, 0, None, self.whose(attempt))

    def point(self, version_row: VersionRow, session: ClientSession | None) -> None:
        """Set the version table."""
        self._check(session)
        version = -1 if version_row.version is None else version_row.version
        document = {"version": Int64(version), "dirty": version_row.dirty}
        self.versions.replace_one({}, document, upsert=True, session=session)
        if self._several_rows:  # somebody has chosen which of them is true
            self.versions.delete_many({"$nor": [document]}, session=session)
            self._several_rows = False

    def upsert(
        self,
        attempt: Attempt,
        elapsed: int,
        session: ClientSession | None,
        identity: str,
        *,
        done: bool | None = None,
    ) -> None:
        """Write a record by the server's clock. `elapsed` milliseconds have passed since the attempt began."""
        self._check(session)
        finished = attempt.done if done is None else done
        began: dict[str, Any] = {"$ifNull": [f"${_TIME}", {"$subtract": ["$$NOW", elapsed]}]}
        values = self._values(attempt._replace(done=finished)) | {"identity": identity}
        document: dict[str, Any] = {name: {"$literal": value} for name, value in values.items()}
        # As numbers: SecantusDB cannot subtract a stored date from $$NOW.
        milliseconds = {"$subtract": [{"$toLong": "$$NOW"}, {"$toLong": began}]}
        document[_TIME] = began
        document["finished_at"] = "$$NOW" if finished else None
        document["seconds"] = {"$max": [0, {"$divide": [milliseconds, 1000]}]} if finished else None
        self.history.update_one({"_id": _key(attempt)}, [{"$set": document}], upsert=True, session=session)

    def _values(self, attempt: Attempt) -> dict[str, Any]:
        """Return what a record says of an attempt, without times and identity."""
        values: dict[str, Any] = {
            "version": Int64(attempt.version),
            "attempt": attempt.number,
            "name": attempt.name,
            "direction": attempt.direction.value,
            "checksum": attempt.checksum,
            "applied": attempt.applied,
            "total": attempt.total,
            "in_flight": attempt.in_flight,
            "prefix": attempt.prefix,
            "done": attempt.done,
            "origin": attempt.origin.value,
            "actor": attempt.actor,
            "role": errors.user_of(self._target),
            "host": socket.gethostname(),
            "run_id": attempt.run_id,
            "tool": attempt.tool,
            "error": attempt.error,
            "reason": attempt.reason,
            "format": attempt.format,
        }
        if attempt.texts:
            values["texts"] = attempt.texts
        return values


def _key(attempt: Attempt) -> str:
    return f"{attempt.version}.{attempt.number}"
