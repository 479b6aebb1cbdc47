"""The commands of migration files: running one, and what its reply tells."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError, InvalidDocument
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.database import Database as MongoDatabase
from pymongo.errors import DocumentTooLarge, OperationFailure, PyMongoError

from orchestrator.engines.base import Limits
from orchestrator.engines.mongo import errors
from orchestrator.engines.mongo.allowed_commands import ENTRIES, OWNED, OWNED_HINT, WRITE_COMMANDS, written
from orchestrator.engines.mongo.command_names import SENT_TO_ADMIN
from orchestrator.engines.mongo.extended_json import entry_offset
from orchestrator.engines.mongo.other_sets import is_record
from orchestrator.errors import StatementError, StatementNotPermittedError
from orchestrator.hints import Command, Hint
from orchestrator.model import Statement, Target

# What is acknowledged this way was never lost in kill tests; w:1 alone lost up to 15 inserts.
DURABLE = WriteConcern("majority", j=True)
_DURABLE_DOCUMENT = {"w": "majority", "j": True}
# Of a command's reply only what is looked at is decoded: a document in it may hold what Python cannot, such as the year 10000.
RAW: CodecOptions[Any] = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    unicode_decode_error_handler="replace",
)


class Commands:
    """Runs the commands of one session. `check` is called before each; `bookkeeping` are the collections of our records."""

    def __init__(
        self,
        client: MongoClient[Any],
        session: ClientSession,
        target: Target,
        database: MongoDatabase[Any],
        bookkeeping: Collection[str],
        check: Callable[[ClientSession | None], None],
        cancelled: threading.Event,
    ) -> None:
        self._client = client
        self._session = session
        self._target = target
        self._database = database
        self._bookkeeping = bookkeeping
        self._check = check
        self._cancelled = cancelled
        self._plain_data: set[str] = set()  # collections that are known to hold no records

    def run(self, statement: Statement, limits: Limits) -> None:
        """Run one command of a file, in the transaction if one is open."""
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
                reply = database.command(command, session=self._session, codec_options=RAW)
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
            if name != "create" and is_record(self._database.get_collection(collection, codec_options=RAW).find_one()):
                return True
            self._plain_data.add(collection)
        return False

    def _belongs_to_admin(self, name: str) -> bool:
        """Whether the server takes this command in the database admin only: it says so with the code of a missing right."""
        if name in SENT_TO_ADMIN:
            return False
        try:
            known = self._client.admin.command("listCommands", codec_options=RAW)["commands"].get(name)
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
