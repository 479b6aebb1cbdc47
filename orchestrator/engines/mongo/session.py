"""One database's session: reading its history, its lease, its commands and transactions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database as MongoDatabase
from pymongo.errors import OperationFailure, PyMongoError

from orchestrator.engines.base import Effect, Limits, Rows
from orchestrator.engines.mongo import errors
from orchestrator.engines.mongo.checks import command_of, judge_reply, read_query, rows_of
from orchestrator.engines.mongo.commands import DURABLE, RAW, Commands
from orchestrator.engines.mongo.lease import Lease
from orchestrator.engines.mongo.probe import probe
from orchestrator.engines.mongo.records import Records, ServerNames
from orchestrator.engines.mongo.schema_snapshot import schema_snapshot
from orchestrator.errors import (
    LockError,
    StatementError,
)
from orchestrator.hints import Command, Hint
from orchestrator.model import (
    NO_CHECKS,
    Activity,
    Attempt,
    Checks,
    History,
    LockHolder,
    SchemaObject,
    SchemaSnapshot,
    Script,
    Statement,
    Target,
    VersionRow,
    Vitals,
)


class MongoSession:
    """One database. Every write is durable, and checked against the lease before it is made."""

    tells_of_lock = True

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
        self._database: MongoDatabase[Any] = client.get_database(target.database, write_concern=DURABLE)
        self._cancelled = threading.Event()
        self._alone: frozenset[str] | None = None  # collections that no transaction may write to; None: not asked yet
        self._lease: Lease | None = None
        self._records = Records(client, session, target, self._database, servers, self._check)
        self._commands = Commands(
            client, session, target, self._database, self._records.bookkeeping, self._check, self._cancelled
        )

    def read_history(self, extensions: Sequence[str] = ()) -> History:  # noqa: ARG002 - PostgreSQL has extensions
        """Read history and version table."""
        new = self._lease is not None and self._lease.is_first()
        return self._records.read(locked=self._lease is not None, new=new)

    @contextmanager
    def lock(self, wait: float, on_wait: Callable[[LockHolder], None]) -> Iterator[None]:
        """Hold golang-migrate's lock document, as a lease that a killed run cannot keep for ever."""
        with errors.mapped(self._target):
            self._records.refuse_others()
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
        del extensions
        history, document = self._records.read_with_lock(locked=self._lease is not None)
        with errors.mapped(self._target):
            return history, self._new_lease().told(document) if document and history.exists else None

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
        from orchestrator.engines.mongo.commit import commit_transaction, run_in_transaction

        with errors.mapped(self._target):
            if attempts:
                self._records.create_store(attempts[0])
            identities = {attempt: self._records.whose(attempt) for attempt in attempts}  # no transaction can ask
            started = time.monotonic()
            if not self._transactions:
                self._renew()
                self._records.write_in_order(attempts, version_row)
                return
            with self._quiet_lease():
                self._session.start_transaction(write_concern=DURABLE)
                try:
                    self._renew(self._session)
                    for check in checks.before:
                        self.ask(check, limits)
                    for statement in statements:
                        run_in_transaction(self._commands, statement, limits)
                    for check in checks.after:
                        self.ask(check, limits)
                    elapsed = round((time.monotonic() - started) * 1000)
                    for attempt in attempts:
                        self._records.upsert(attempt, elapsed, self._session, identities[attempt])
                    if version_row is not None:
                        self._records.point(version_row, self._session)
                    with errors.unless_cancelled(self._cancelled):
                        commit_transaction(self._session, statements, self._target.database_id)
                    if self._lease is not None:
                        self._lease.committed()
                finally:
                    if self._session.in_transaction:
                        with suppress(PyMongoError):
                            self._session.abort_transaction()

    def execute(self, statement: Statement, limits: Limits) -> None:
        """Run one command."""
        with errors.mapped(self._target):
            self._renew()
            self._commands.run(statement, limits)
            self._alone = None  # it may have made or renamed one

    def kept_texts(self, version: int | None = None) -> Mapping[tuple[int, int], str]:
        """Read the field of the texts, which the history is read without."""
        chosen = {"texts": {"$gt": ""}} | ({} if version is None else {"version": version})
        with errors.mapped(self._target):
            found = self._records.history.find(chosen, {"version": 1, "attempt": 1, "texts": 1}, session=self._session)
            return {(int(one["version"]), int(one["attempt"])): one["texts"] for one in found}

    def ask(self, check: Statement, limits: Limits) -> None:
        """Count what a check counts, in the transaction if one is open."""
        command = command_of(check)
        if limits.statement_timeout:
            command["maxTimeMS"] = round(limits.statement_timeout * 1000)
        with errors.mapped(self._target), errors.unless_cancelled(self._cancelled):
            try:
                reply = self._database.command(command, session=self._session, codec_options=RAW)
            except OperationFailure as error:
                raise errors.statement_error(error, self._target, check) from None
            judge_reply(check, reply)

    def select(self, query: Statement, limits: Limits, most: int) -> Rows:
        """Read documents; their keys are the columns."""
        command = read_query(query)
        pipeline = [*command["pipeline"], {"$limit": most + 1}]
        options: dict[str, Any] = {k: v for k, v in command.items() if k not in ("aggregate", "pipeline")}
        if limits.statement_timeout:
            options["maxTimeMS"] = round(limits.statement_timeout * 1000)
        with errors.mapped(self._target), errors.unless_cancelled(self._cancelled):
            try:
                found = list(self._database[command["aggregate"]].aggregate(pipeline, session=self._session, **options))
            except OperationFailure as error:
                raise errors.statement_error(error, self._target, query) from None
        return rows_of(found)

    def probe(self, statement: Statement, limits: Limits) -> tuple[Effect, str]:  # noqa: ARG002 - PostgreSQL has debris
        """Look what became of a command."""
        with errors.mapped(self._target):
            return probe(self._database, statement.body)

    def messages(self) -> list[tuple[str, str]]:
        """Return nothing: MongoDB refuses, or says nothing."""
        return []

    @contextmanager
    def watch(self) -> Iterator[Callable[[], Activity]]:
        """Tell of secondaries that lag, which every write waits for, of index builds, and of transactions in the way."""
        from orchestrator.engines.mongo.activity import watching

        yield watching(self._client, self._session.session_id)

    @property
    def target(self) -> Target:
        """Where the database is."""
        return self._target

    @property
    def database(self) -> MongoDatabase[Any]:
        """The database, for those who only look."""
        return self._database

    def schema_snapshot(self) -> SchemaSnapshot:
        """Read the collections, their options and their indexes."""
        bookkeeping = {
            self._records.versions.name,
            self._records.history.name,
            self._records.locks.name,
            self._snapshot.name,
        }
        with errors.mapped(self._target):
            return schema_snapshot(self._database, bookkeeping)

    @property
    def _snapshot(self) -> Collection[Any]:
        return self._database[f"{self._records.history.name}_snapshot"]

    def server(self) -> str:
        """Return the major version."""
        with errors.mapped(self._target):
            return f"mongo {self._client.server_info()['versionArray'][0]}"

    def vitals(self) -> Vitals:
        """Ask for the server's time, its place in a replica set, and the rights of this login."""
        from orchestrator.engines.mongo.vitals import vitals

        with errors.mapped(self._target):
            return vitals(self._database)

    def kept_snapshot(self) -> str:
        """Read the document of the collection beside the history."""
        with errors.mapped(self._target):
            found = self._snapshot.find_one({"_id": "snapshot"}, session=self._session)
            return str(found["text"]) if found and isinstance(found.get("text"), str) else ""

    def keep_snapshot(self, text: str) -> None:
        """Write the document of the collection beside the history."""
        with errors.mapped(self._target):
            self._renew()
            if self._snapshot.find_one({"version": {"$exists": True}}, session=self._session):
                raise StatementError(f"{self._snapshot.name} is the history of another set of migrations")
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

    def _new_lease(self) -> Lease:
        return Lease(self._records.locks, self._session, self._target.database_id, self._actor, self._run_id)

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
