"""One database's session: reading its history, its lease, its commands and transactions."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from bson import DatetimeMS, Int64, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError, InvalidDocument
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database as MongoDatabase
from pymongo.errors import DocumentTooLarge, OperationFailure, PyMongoError, WriteConcernError

from orchestrator.engines.base import Effect, Limits
from orchestrator.engines.identity import Identity, document, told, written_elsewhere
from orchestrator.engines.mongo import errors
from orchestrator.engines.mongo.checks import command_of, judge_reply
from orchestrator.engines.mongo.command_names import SENT_TO_ADMIN
from orchestrator.engines.mongo.extended_json import ENTRIES, OWNED, OWNED_HINT, WRITE_COMMANDS, entry_offset, written
from orchestrator.engines.mongo.lease import Lease
from orchestrator.engines.mongo.other_sets import is_record
from orchestrator.engines.mongo.probe import probe
from orchestrator.engines.mongo.schema_snapshot import schema_snapshot
from orchestrator.errors import (
    ConflictError,
    ConnectionLostError,
    LockError,
    StatementError,
    StatementNotPermittedError,
)
from orchestrator.hints import Blank, Command, Hint
from orchestrator.model import (
    NO_CHECKS,
    Attempt,
    Blocking,
    Checks,
    History,
    LockHolder,
    Origin,
    SchemaObject,
    SchemaSnapshot,
    Script,
    Statement,
    Target,
    VersionRow,
    read_attempt,
)

COMMIT_RETRIES = 3
_DEFAULT = "schema_migrations"
MAX_ROWS = 10  # of golang-migrate's collection, which has one
# What is acknowledged this way was never lost in kill tests; w:1 alone lost up to 15 inserts.
_DURABLE = WriteConcern("majority", j=True)
_DURABLE_DOCUMENT = {"w": "majority", "j": True}
# Of a command's reply only what is looked at is decoded: a document in it may hold what Python cannot, such as the year 10000.
_RAW: CodecOptions[Any] = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    unicode_decode_error_handler="replace",
)


class ServerNames(NamedTuple):
    """What a server calls itself: the members of its replica set, and its process, until it is started again."""

    members: tuple[str, ...]
    process: str


class MongoSession:
    """One database. Every write is durable, and checked against the lease before it is made."""

    watched_after: float | None = 5.0

    def __init__(
        self,
        client: MongoClient[Any],
        session: ClientSession,
        target: Target,
        transactions: bool,
        actor: str,
        run_id: str,
        servers: ServerNames,
    ) -> None:
        self._client = client
        self._session = session
        self._target = target
        self._transactions = transactions
        self._actor = actor
        self._run_id = run_id
        self._database: MongoDatabase[Any] = client.get_database(target.database, write_concern=_DURABLE)
        self._versions = self._database[target.parameters.get("x-migrations-collection") or _DEFAULT]
        self._own_history = target.history_name + ("" if self._versions.name == _DEFAULT else f"_{self._versions.name}")
        self._history = self._database[self._own_history]
        self._locks = self._database[target.parameters.get("x-advisory-lock-collection") or "migrate_advisory_lock"]
        self._bookkeeping = {collection.name for collection in (self._versions, self._history, self._locks)}
        self._plain_data: set[str] = set()  # collections that are known to hold no records

        self._bookkeeping.add(f"{self._history.name}_snapshot")
        self._cancelled = threading.Event()
        self._has_store = False
        self._several_rows = False
        self._alone: frozenset[str] | None = None  # collections that no transaction may write to; None: not asked yet
        self._lease: Lease | None = None
        self._servers = servers
        self._stored: tuple[str, ...] = ()  # identities in the rows that were read last
        self._uuid: str | None = None  # of the history's collection; None: not asked yet

    def read_history(self, extensions: Sequence[str] = ()) -> History:  # noqa: ARG002 - PostgreSQL has extensions
        """Read history and pointer."""
        with errors.mapped(self._target):
            documents = self._version_documents()
            attempts = self._attempts()
            if documents and not attempts and self._keep_shared_history():
                attempts = self._attempts()
            # Two reads: unless we hold the lock, a run may write between them. They fit if the version table is still the same.
            while attempts and self._lease is None:
                before, documents = documents, self._version_documents()
                if before == documents:
                    break
                attempts = self._attempts()
            self._has_store = bool(attempts)
            rows = list(dict.fromkeys(map(self._read_version, documents)))
            self._several_rows = len(documents) > 1
            exists, others, emptied = True, 0, False
            if not rows and not attempts:
                exists = self._exists()
                others, emptied = self._unrecorded() if exists else (0, False)
        return History(
            exists,
            self._has_store,
            rows[0] if rows else None,
            attempts,
            unrecorded=0 if emptied else others,
            emptied=emptied,
            rows=tuple(sorted(rows, key=lambda row: row.version or 0)) if len(rows) > 1 else (),
            elsewhere=self._elsewhere(),
            place=self._place() if self._has_store else "",
        )

    def _keep_shared_history(self) -> bool:
        """Go on in the history of an earlier release, which called all the same, where no other set can have written it.

        Return whether there is one.
        """
        shared = self._database[self._target.history_name]
        if self._history.name == shared.name or self._database[_DEFAULT].find_one({"dirty": {"$exists": True}}):
            return False
        if shared.find_one(session=self._session) is None:
            return False
        self._history = shared
        self._bookkeeping.add(shared.name)
        return True

    def _place(self) -> str:
        process = self._servers.process
        return f"{process} {self._target.database} {self._versions.name}" if process else ""

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
                found = self._database.list_collections(session=self._session, filter={"name": self._history.name})
                self._uuid = "".join(str(one["info"]["uuid"]) for one in found if "uuid" in one.get("info", ()))
            except OperationFailure:  # not needed for anything else
                self._uuid = ""
        return Identity(self._servers.members, self._uuid, self._target.database)

    def _whose(self, attempt: Attempt) -> str:
        """Return what a row of this attempt says of where it was written."""
        if self._target.scratch:
            return ""
        stored = document(self._identity())
        if attempt.origin is Origin.MOVED:  # whatever the rows say so far is of this database from now on
            stored["took_over"] = [document(one) for one in written_elsewhere(self._stored, Identity((), "", ""))]
        return json.dumps(stored)

    @contextmanager
    def lock(self, wait: float, on_wait: Callable[[LockHolder], None]) -> Iterator[None]:
        """Hold golang-migrate's lock document, as a lease that a killed run cannot keep for ever."""
        if self._target.parameters.get("x-advisory-locking", "").lower() in ("false", "0", "f"):
            yield
            return
        with errors.mapped(self._target), self._new_lease().held(wait, on_wait) as lease:
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    def holder(self) -> LockHolder | None:
        """Return who the lock document names."""
        with errors.mapped(self._target):
            return self._new_lease().holder()

    def look(self, extensions: Sequence[str] = ()) -> tuple[History, LockHolder | None]:
        """Read the history, and the lock document."""
        history = self.read_history(extensions)
        return history, self.holder() if history.exists else None

    def unlock(self, holder: LockHolder, *, terminate: bool = False) -> None:
        """Delete the lock document, if it still names this holder, and end what the server does for one of ours."""
        if holder.alive and not terminate:
            raise LockError(
                f"the lock of {self._target.database_id} is held by a running process: {holder.description}",
                hint=Hint("let it finish; or ", Command("unlock", self._target.database_id, "--terminate")),
            )
        with errors.mapped(self._target):
            self._new_lease().remove(holder)

    def keep(self) -> None:
        """Do nothing: the client is shared anyway."""

    def prepare(self, extensions: Sequence[str]) -> None:
        """Do nothing: only PostgreSQL has extensions."""

    def begin(self, attempt: Attempt, statements: Sequence[Statement], limits: Limits) -> None:
        """Do nothing: a command leaves nothing in its session."""

    def commits(self, statement: Statement) -> bool:
        """Whether the command can be part of a transaction: on this server, and into its collection as it is now."""
        return statement.atomic and self._may_commit() and self._is_plain(next(iter(statement.body.values())))

    def commits_together(self, script: Script) -> bool:
        """Whether all commands can be part of one transaction: on this server, into their collections as they are now."""
        if not (script.atomic and self._may_commit()):
            return False
        names = [next(iter(statement.body.items())) for statement in script.statements]
        made = {collection for name, collection in names if name == "create"}
        return all(collection in made or self._is_plain(collection) for _, collection in names)

    def _may_commit(self) -> bool:
        wanted = self._target.parameters.get("x-transaction-mode", "").lower() not in ("false", "f", "0")
        return wanted and self._transactions

    def _is_plain(self, collection: str) -> bool:
        """Whether a transaction may write to a collection as it is now."""
        if self._alone is None:
            with errors.mapped(self._target):
                found = self._database.list_collections(session=self._session)
                self._alone = frozenset(
                    one["name"] for one in found if one.get("type") == "timeseries" or one["options"].get("capped")
                )
        return collection not in self._alone

    def commit(
        self,
        statements: Sequence[Statement],
        attempts: Sequence[Attempt],
        version_row: VersionRow | None,
        limits: Limits,
        checks: Checks = NO_CHECKS,
    ) -> None:
        """Run data commands and write the records in one transaction, or without one in an order that a kill cannot hurt."""
        with errors.mapped(self._target):
            self._create_store()
            identities = {attempt: self._whose(attempt) for attempt in attempts}  # no transaction can ask
            started = time.monotonic()
            if not self._transactions:
                self._renew()
                self._record_in_order(attempts, version_row)
                return
            with self._quiet_lease():
                self._session.start_transaction(write_concern=_DURABLE)
                try:
                    self._renew(self._session)
                    for check in checks.before:
                        self.ask(check, limits)
                    for statement in statements:
                        self._in_transaction(statement, limits)
                    for check in checks.after:
                        self.ask(check, limits)
                    elapsed = round((time.monotonic() - started) * 1000)
                    for attempt in attempts:
                        self._upsert(attempt, elapsed, self._session, identities[attempt])
                    if version_row is not None:
                        self._point(version_row, self._session)
                    with errors.unless_cancelled(self._cancelled):
                        self._commit_transaction(statements)
                finally:
                    if self._session.in_transaction:
                        with suppress(PyMongoError):
                            self._session.abort_transaction()

    def execute(self, statement: Statement, limits: Limits) -> None:
        """Run one command."""
        with errors.mapped(self._target):
            self._renew()
            self._command(statement, limits)
            self._alone = None  # it may have made or renamed one

    def kept_texts(self, version: int | None = None) -> Mapping[tuple[int, int], str]:
        """Read the field of the texts, which the history is read without."""
        chosen = {"texts": {"$gt": ""}} | ({} if version is None else {"version": version})
        with errors.mapped(self._target):
            found = self._history.find(chosen, {"version": 1, "attempt": 1, "texts": 1}, session=self._session)
            return {(int(one["version"]), int(one["attempt"])): one["texts"] for one in found}

    def ask(self, check: Statement, limits: Limits) -> None:
        """Count what a check counts, in the transaction if one is open."""
        command = command_of(check)
        if limits.statement_timeout:
            command["maxTimeMS"] = round(limits.statement_timeout * 1000)
        with errors.mapped(self._target), errors.unless_cancelled(self._cancelled):
            try:
                reply = self._database.command(command, session=self._session, codec_options=_RAW)
            except OperationFailure as error:
                raise errors.statement_error(error, self._target, check) from None
            judge_reply(check, reply)

    def probe(self, statement: Statement, limits: Limits) -> tuple[Effect, str]:  # noqa: ARG002 - PostgreSQL has debris
        """Look what became of a command."""
        with errors.mapped(self._target):
            return probe(self._database, statement.body)

    def messages(self) -> list[tuple[str, str]]:
        """Return nothing: MongoDB refuses, or says nothing."""
        return []

    @contextmanager
    def watch(self) -> Iterator[Callable[[], Blocking | None]]:
        """Tell of secondaries that lag, which every write waits for. Of locks nobody waits for more than a moment."""
        from orchestrator.engines.mongo.lag import lagging

        yield lambda: lagging(self._client)

    def schema_snapshot(self) -> SchemaSnapshot:
        """Read the collections, their options and their indexes."""
        bookkeeping = {self._versions.name, self._history.name, self._locks.name, self._snapshot.name}
        with errors.mapped(self._target):
            return schema_snapshot(self._database, bookkeeping)

    @property
    def _snapshot(self) -> Collection[Any]:
        return self._database[f"{self._history.name}_snapshot"]

    def server(self) -> str:
        """Return the major version."""
        with errors.mapped(self._target):
            return f"mongo {self._client.server_info()['versionArray'][0]}"

    def kept_snapshot(self) -> str:
        """Read the document of the collection beside the history."""
        with errors.mapped(self._target):
            found = self._snapshot.find_one({"_id": "snapshot"}, session=self._session)
            return str(found["text"]) if found and isinstance(found.get("text"), str) else ""

    def keep_snapshot(self, text: str) -> None:
        """Write the document of the collection beside the history."""
        with errors.mapped(self._target):
            self._renew()
            self._snapshot.replace_one({"_id": "snapshot"}, {"text": text}, upsert=True, session=self._session)

    def is_bare(self, schema_object: SchemaObject) -> bool:
        """Whether this is a collection without documents, options and indexes."""
        if schema_object.kind != "collection":
            return False
        with errors.mapped(self._target):
            collection = self._database[schema_object.name]
            plain = not collection.options() and len(list(collection.list_indexes())) <= 1
            return plain and collection.find_one({}, {"_id": 1}) is None

    def cancel(self) -> None:
        """Kill the session's operation on the server, and with it the transaction that is open."""
        self._cancelled.set()
        with suppress(PyMongoError):
            self._client.admin.command("killSessions", [self._session.session_id])

    # ------------------------------------------------------------ what stands behind the verbs

    def _attempts(self) -> tuple[Attempt, ...]:
        found = []
        stored: dict[str, None] = {}
        for row in self._history.find({}, {"texts": 0}, session=self._session):
            if isinstance(whose := row.get("identity"), str):
                stored[whose] = None
            try:
                attempt = read_attempt(row)
            except (KeyError, TypeError, ValueError, ArithmeticError):
                attempt = None
            if attempt is None or any(isinstance(value, DatetimeMS) for value in attempt):  # no time of ours
                raise ConflictError(
                    f"{self._target.database_id}: the document {row['_id']!r} in {self._history.name} is no record of orch",
                    hint="who wrote or changed it? Put it back as it was",
                )
            found.append(attempt)
        self._stored = tuple(stored)
        return tuple(found)

    def _version_documents(self) -> list[dict[str, Any]]:
        """Return golang-migrate's document; of several enough to see that they contradict each other."""
        return list(self._versions.find(session=self._session, limit=MAX_ROWS))

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
                f"{self._target.database_id}: {self._versions.name} is not golang-migrate's collection but another tool's",
                detail=f"a document in it has the fields {', '.join(document)}; golang-migrate's are version and dirty",
                hint=Hint(
                    "give orch one of its own: x-migrations-collection=orch_migrations in the DSN; "
                    "and if these migrations have run already: ",
                    Command("baseline", self._target.database_id, "--version", Blank("VERSION")),
                ),
            )
        raise ConflictError(
            f"{self._target.database_id}: the version in {self._versions.name} is no whole number",
            detail=f"the document is {json_util.dumps(document)[:500]}",
            hint=f"set it as golang-migrate does: db.{self._versions.name}.updateOne({{}}, {{$set: {{version: Long(1)}}}})",
        )

    def _new_lease(self) -> Lease:
        return Lease(self._locks, self._session, self._target.database_id, self._actor, self._run_id)

    def _exists(self) -> bool:
        try:
            reply = self._client.admin.command(
                "listDatabases", nameOnly=True, filter={"name": self._target.database}, session=self._session
            )
            return bool(reply["databases"])
        except OperationFailure:  # the right to list is not needed for anything else
            return bool(self._database.list_collection_names(session=self._session))

    def _unrecorded(self) -> tuple[int, bool]:
        """Return how many collections there are that are not ours, and whether beside them the history is there and empty.

        Without them it is what a run leaves that was killed before its first record.
        """
        try:
            names = self._database.list_collection_names(session=self._session)
        except OperationFailure:  # not needed for anything else
            return 0, False
        others = sum(name not in self._bookkeeping and not name.startswith("system.") for name in names)
        return others, bool(others) and self._history.name in names

    def _command(self, statement: Statement, limits: Limits) -> None:
        self._check(self._session if self._session.in_transaction else None)
        command = dict(statement.body)
        name = next(iter(command))
        if limits.statement_timeout and "maxTimeMS" not in command:
            command["maxTimeMS"] = round(limits.statement_timeout * 1000)
        for collection in written(command):
            if collection in self._bookkeeping or self._is_of_another_set(name, collection):
                raise StatementError(f"it changes {collection}, which {OWNED}", hint=OWNED_HINT, statement=statement)
        if self._session.in_transaction:  # which has ours, and allows a command none of its own
            command.pop("writeConcern", None)
        elif name in WRITE_COMMANDS:
            command["writeConcern"] = _DURABLE_DOCUMENT
        database = self._client.admin if name in SENT_TO_ADMIN else self._database
        try:
            with errors.unless_cancelled(self._cancelled):
                reply = database.command(command, session=self._session, codec_options=_RAW)
                self._refuse_partial(reply, statement)
        except OperationFailure as error:
            refused = errors.statement_error(error, self._target, statement)
            if isinstance(refused, StatementNotPermittedError) and self._belongs_to_admin(name):
                hint = "it is about the whole server: do it by hand, not in a migration"
                refused = StatementError(refused.what, hint=hint, code=refused.code, statement=statement)
            if isinstance(refused, StatementError) and not self._session.in_transaction:
                refused.partly = errors.may_be_partly_done(command, error.code)
            raise refused from None
        except (BSONError, ValueError, ArithmeticError, RecursionError) as error:
            unsent = isinstance(error, (InvalidDocument, DocumentTooLarge))
            raise StatementError(
                f"{'it cannot be sent' if unsent else 'the reply of the server cannot be read'}: {error}",
                statement=statement,
                partly=not (unsent or self._session.in_transaction),
            ) from None

    def _is_of_another_set(self, name: str, collection: str) -> bool:
        """Whether another set of migrations in this database keeps its records in this collection; each is looked at once."""
        if collection not in self._plain_data:
            if name != "create" and is_record(self._database[collection].find_one()):
                return True
            self._plain_data.add(collection)
        return False

    def _belongs_to_admin(self, name: str) -> bool:
        """Whether the server takes this command in the database admin only: it says so with the code of a missing right."""
        if name in SENT_TO_ADMIN:
            return False
        try:
            known = self._client.admin.command("listCommands", codec_options=_RAW)["commands"].get(name)
        except PyMongoError:
            return False
        return bool(known and known.get("adminOnly"))

    def _refuse_partial(self, reply: Mapping[str, Any], statement: Statement) -> None:
        """A reply that says ok may still tell of writes that failed; pymongo's `command` does not look."""
        if reply.get("nErrors"):  # of bulkWrite
            raise StatementError(
                f"{reply['nErrors']} of its writes failed",
                detail=errors.details(reply.get("cursor")),
                statement=statement,
                partly=True,
            )
        if write_errors := reply.get("writeErrors"):
            first = write_errors[0]
            others = f"\nand {len(write_errors) - 1} more" if len(write_errors) > 1 else ""
            if first.get("code") in errors.STEPPED_DOWN:
                raise errors.stepped_down(self._target, first.get("errmsg", ""))
            which, offset = _entry(statement, first.get("index"))
            raise StatementError(
                f"{which}{first.get('errmsg', 'write error')}",
                detail=errors.details(first.get("errInfo")) + others,
                code=str(first.get("code", "")),
                statement=statement,
                offset=offset,
                partly=not self._session.in_transaction and (bool(reply.get("n")) or _is_multiple(statement.body)),
            )
        if concern := reply.get("writeConcernError"):
            if concern.get("code") in errors.STEPPED_DOWN:
                raise errors.stepped_down(self._target, concern.get("errmsg", ""))
            raise StatementError(
                f"written, but not durably: {concern.get('errmsg', 'write concern error')}",
                hint=Hint("look at the replica set, then run again: ", Command("apply")),
                code=str(concern.get("code", "")),
                statement=statement,
                partly=True,
            )

    def _in_transaction(self, statement: Statement, limits: Limits) -> None:
        try:
            self._command(statement, limits)
        except StatementError as error:
            raise errors.refused_transaction(error) from None

    def _commit_transaction(self, statements: Sequence[Statement]) -> None:
        for attempt in range(COMMIT_RETRIES + 1):
            try:
                self._session.commit_transaction()
            except PyMongoError as error:
                # A write concern that failed says nothing against the commit itself.
                unknown = error.has_error_label("UnknownTransactionCommitResult") or isinstance(
                    error, WriteConcernError
                )
                if not unknown:
                    only = statements[0] if len(statements) == 1 else None
                    if isinstance(error, OperationFailure) and error.code in errors.NOT_IN_A_TRANSACTION and statements:
                        raise errors.refused_transaction(errors.commit_error(error, only)) from None
                    raise
                if attempt == COMMIT_RETRIES:  # it may be there: only the database can tell
                    raise ConnectionLostError(
                        f"{self._target.database_id} does not say whether a transaction was committed",
                        detail=str(error),
                        hint=Hint("run again: ", Command("apply")),
                    ) from None
            else:
                return

    def _create_store(self) -> None:
        """Make the two collections before a transaction needs them."""
        if self._has_store:
            return
        for collection in (self._history, self._versions):
            with suppress(OperationFailure):  # 48: it is there
                self._database.create_collection(collection.name, check_exists=False)
        self._has_store = True

    def _record_in_order(self, attempts: Sequence[Attempt], version_row: VersionRow | None) -> None:
        """Without transactions: what was done, then the version table, then that it is finished. Each gap can be told apart.

        A try that had no effect is let go last: until the version table is back, its record explains what the version table says.
        """
        void = [r for r in attempts if not (r.done or r.applied or r.in_flight)]
        for attempt in attempts:
            if attempt not in void:
                self._upsert(attempt, 0, None, self._whose(attempt), done=False)
        if version_row is not None:
            self._point(version_row, None)
        for attempt in attempts:
            if attempt.done or attempt in void:
                self._upsert(attempt, 0, None, self._whose(attempt))

    def _point(self, version_row: VersionRow, session: ClientSession | None) -> None:
        self._check(session)
        version = -1 if version_row.version is None else version_row.version
        document = {"version": Int64(version), "dirty": version_row.dirty}
        self._versions.replace_one({}, document, upsert=True, session=session)
        if self._several_rows:  # somebody has chosen which of them is true
            self._versions.delete_many({"$nor": [document]}, session=session)
            self._several_rows = False

    def _upsert(
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
        began: dict[str, Any] = {"$ifNull": ["$started_at", {"$subtract": ["$$NOW", elapsed]}]}
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
            "done": finished,
            "origin": attempt.origin.value,
            "actor": attempt.actor,
            "role": errors.user_of(self._target),
            "host": socket.gethostname(),
            "run_id": attempt.run_id,
            "tool": attempt.tool,
            "error": attempt.error,
            "reason": attempt.reason,
            "format": attempt.format,
            "identity": identity,
        }
        if attempt.texts:
            values["texts"] = attempt.texts
        document: dict[str, Any] = {name: {"$literal": value} for name, value in values.items()}
        # As numbers: SecantusDB cannot subtract a stored date from $$NOW.
        milliseconds = {"$subtract": [{"$toLong": "$$NOW"}, {"$toLong": began}]}
        document["started_at"] = began
        document["finished_at"] = "$$NOW" if finished else None
        document["seconds"] = {"$divide": [milliseconds, 1000]} if finished else None
        key = f"{attempt.version}.{attempt.number}"
        self._history.update_one({"_id": key}, [{"$set": document}], upsert=True, session=session)

    def _renew(self, session: ClientSession | None = None) -> None:
        if self._lease is not None:
            self._lease.renew(session)

    def _check(self, session: ClientSession | None) -> None:
        """Before a write outside of a transaction: whoever was stopped since the lease was renewed finds out here."""
        if self._lease is not None and session is None:
            self._lease.check()

    @contextmanager
    def _quiet_lease(self) -> Iterator[None]:
        """Keep the heartbeat still during a transaction that renews the lease itself: they would conflict."""
        if self._lease is None:
            yield
            return
        with self._lease.mutex:
            yield


def _entry(statement: Statement, index: int | None) -> tuple[str, int | None]:
    """Return an entry of a command as people count, to stand before what is wrong with it, and its place in the source."""
    name = next(iter(statement.body))
    if index is None or name not in ENTRIES:
        return "", None
    what = "document" if name == "insert" else name
    array = ENTRIES[name]
    return f"{what} {index + 1} of {len(statement.body[array])}: ", entry_offset(statement.source, array, index)


def _is_multiple(command: dict[str, Any]) -> bool:
    """Whether a command changes many documents by one entry: those changed before an error stay, and are not counted."""
    return any(
        entry.get("multi") or entry.get("limit") == 0
        for key in ("updates", "deletes")
        for entry in command.get(key, ())
    )
