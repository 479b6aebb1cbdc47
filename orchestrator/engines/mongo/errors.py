"""Map every pymongo error to one of ours, with a hint."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from bson import json_util
from bson.errors import BSONError
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.uri_parser import split_options

from orchestrator.errors import (
    ConnectError,
    ConnectionLostError,
    InvalidError,
    NotPermittedError,
    OrchError,
    StatementError,
    StatementNotPermittedError,
    TransactionRefusedError,
)
from orchestrator.hints import WAIT, Command, Hint, joined
from orchestrator.model import Statement, Target

_AUTHENTICATION_FAILED = 18
_REFUSED_LOGINS = {_AUTHENTICATION_FAILED, 11}  # UserNotFound is what a certificate gets that no user has
_UNAUTHORIZED = 13
# The primary steps down or stops, or is none any more, however the driver calls that: ask the new one what became of it.
STEPPED_DOWN = {91, 189, 10058, 10107, 11600, 11602, 13435, 13436}
# ShutdownInProgress, NotYetInitialized, FailedToSatisfyReadPreference, PrimarySteppedDown, KeyNotFound (a cluster whose
# keys are not made yet), and what a member says that is no primary or is just stopping.
_NOT_YET = {91, 94, 133, 189, 211, 10107, 11600, 11602, 13435, 13436}
_NAMESPACE_EXISTS = 48
_PASSES_BY_ITSELF = {112, 24, 46, 251}  # WriteConflict, LockTimeout, LockBusy, NoSuchTransaction
# Time is up, interrupted, or the server stops or steps down: a command may have been in the middle of its work.
_ENDED_IN_THE_MIDDLE = {50, 91, 189, 237, 262, 10107, 11600, 11601, 11602}
# What the server says once the session's work was killed: 237 of a cursor, 251 of the transaction that is gone.
_KILLED = {237, 251, 11601}
# IllegalOperation, TransactionTooLarge, OperationNotSupportedInTransaction, TransactionExceededLifetimeLimitSeconds,
# TransactionTooLargeForCache, and what mongod says of collections of the system: no transaction can hold this one.
NOT_IN_A_TRANSACTION = {20, 257, 263, 290, 388, 50791}
# Failed to parse, no such command, no right, no such namespace, no such stage: a pipeline was refused before it began.
_REFUSED_PIPELINE = {9, 13, 59, 73, 40324}
# The same of a batch of writes, where what fails in the middle is told in `writeErrors`: besides, bad value, type mismatch,
# illegal operation, not in a transaction, a missing and an unknown field.
_REFUSED_BATCH = _REFUSED_PIPELINE | {2, 14, 20, 263, 40414, 40415}
_CONNECTION_STRING = "see https://www.mongodb.com/docs/manual/reference/connection-string/"
_HINTS = {
    26: "the collection is not there",
    48: "a collection of this name is there already",
    85: "an index with this name or these keys and other options is there already",
    86: "an index with this name and other keys is there already",
    121: "a document does not match the collection's validator",
    263: "this command cannot run in a transaction",
    290: "a transaction may take transactionLifetimeLimitSeconds, 60 unless the server is set otherwise",
    11000: "a unique index has this value already",
    50: "it ran longer than statement_timeout",
    11601: "it was cancelled",
}


@contextmanager
def connecting(target: Target) -> Iterator[None]:
    """Turn the errors of a first contact into ConnectError."""
    try:
        yield
    except OperationFailure as error:
        if error.code in _NOT_YET:
            raise _not_ready(target, str((error.details or {}).get("errmsg") or error)) from None
        raise _operation(error, target) from None
    except (InvalidURI, ConfigurationError) as error:
        from dns.exception import DNSException  # the driver's own, for mongodb+srv; not needed otherwise

        text = str(error)
        if isinstance(error.__cause__, DNSException):
            raise unresolved(target, text) from None
        raise _not_understood("" if "@" in text else text) from None  # it may repeat the URL
    except (OSError, ValueError) as error:
        raise _not_understood(f"a TLS file: {error.strerror}" if isinstance(error, OSError) else "") from None
    except PyMongoError as error:
        raise _down(target, str(error).partition(", Timeout:")[0]) from None


def check_options(target: Target) -> None:
    """Raise InvalidError for options of the DSN that the driver would only warn of, or refuse in words that hold values."""
    query = target.url.reveal().partition("?")[2]
    for option in filter(None, re.split("[&;]", query)):
        name = option.partition("=")[0]
        try:
            split_options(option, validate=True, warn=False)
        except OSError as error:
            what, detail = "names a file that cannot be read", error.strerror or ""
        except (PyMongoError, ValueError, TypeError) as error:
            known = not str(error).startswith("Unknown option")
            what, detail = "does not have a valid value" if known else "is not known to pymongo", ""
        else:
            continue
        what = f"{target.database_id}: the option '{name}' of the DSN {what}"
        raise InvalidError(what, detail=detail, hint=_CONNECTION_STRING)
    try:
        if query:
            split_options(query)
    except InvalidURI as error:  # options that exclude each other
        raise InvalidError(f"{target.database_id}: {error}", hint=_CONNECTION_STRING) from None


def _not_understood(detail: str) -> ConnectError:
    return ConnectError("the DSN is not understood by pymongo", detail=detail, hint=_CONNECTION_STRING)


def _down(target: Target, text: str) -> ConnectError:
    over_tls = f"; {WANTS_CERTIFICATE}" if re.search(r"[?&](tls|ssl)=true", target.url.reveal(), re.IGNORECASE) else ""
    return ConnectError(
        f"cannot connect to {target.endpoint}",
        detail=text,
        hint=f"is the server up? {WAIT} waits for one that is starting{over_tls}",
        transient=True,
        server_down=True,
    )


def unresolved(target: Target, text: str) -> ConnectError:
    """Return our error for a host name that has no address."""
    return ConnectError(
        f"the host name does not resolve: {target.endpoint}",
        detail=text,
        hint="check the host name in the DSN",
        transient=True,
        server_down=True,
    )


@contextmanager
def mapped(target: Target) -> Iterator[None]:
    """Turn any pymongo error of the block into ours."""
    try:
        yield
    except OperationFailure as error:
        raise _operation(error, target) from None
    except ServerSelectionTimeoutError as error:
        raise ConnectionLostError(
            f"{target.database_id} at {target.endpoint} does not answer any more",
            detail=str(error).partition(", Timeout:")[0],
            hint=Hint("run again: ", Command("apply")),
        ) from None
    except ConnectionFailure as error:
        raise ConnectionLostError(
            f"the connection to {target.database_id} broke",
            detail=str(error),
            hint=Hint("run again: ", Command("apply")),
        ) from None
    except (PyMongoError, BSONError) as error:
        raise StatementError(f"{target.database_id}: {error}") from None


def refuse_unready(hello: dict[str, Any], target: Target) -> None:
    """Raise a ConnectError for a member that is not the primary; a transient one if its replica set has none (yet)."""
    if hello.get("isWritablePrimary", True):
        return
    # A member that is being elected calls itself the primary, and a secondary still.
    if hello.get("secondary") and hello.get("primary", hello.get("me")) != hello.get("me"):
        raise ConnectError(
            f"{target.endpoint} is a secondary of the replica set '{hello.get('setName', '')}', and orch needs its primary",
            detail=f"the primary is {hello['primary']}",
            hint=f"connect to {hello['primary']}; or let orch find it: without directConnection=true in the DSN, "
            f"and with replicaSet={hello.get('setName', '')}",
            server_down=True,
        )
    raise _not_ready(target, str(hello.get("info") or f"the replica set '{hello.get('setName', '')}' has no primary"))


WANTS_CERTIFICATE = "does the server want a certificate? tlsCertificateKeyFile=/path/to/client.pem in the DSN"


def stepped_down(target: Target, text: str) -> ConnectionLostError:
    """Return our error for what the end of a primary interrupted."""
    return ConnectionLostError(
        f"the primary of {target.database_id} stepped down or stopped",
        detail=text,
        hint=Hint("run again: ", Command("apply")),
    )


def _not_ready(target: Target, why: str) -> ConnectError:
    return ConnectError(
        f"{target.endpoint} is not ready",
        detail=why,
        hint=f"{WAIT} waits for a server that is starting",
        transient=True,
        server_down=True,
    )


def statement_error(error: OperationFailure, target: Target, statement: Statement) -> OrchError:
    """Return our error for a command that the server refused."""
    code = error.code or 0
    reply = error.details or {}
    if code == _AUTHENTICATION_FAILED or code in STEPPED_DOWN:
        return _operation(error, target)
    name = reply.get("codeName", "")
    what = reply.get("errmsg") or str(error)
    if code == _UNAUTHORIZED:
        return StatementNotPermittedError(what, hint=_grant(target), code=_code(code, name), statement=statement)
    return StatementError(
        what,
        detail=details(reply.get("errInfo")),
        hint=_HINTS.get(code, ""),
        code=_code(code, name),
        statement=statement,
        exists=code == _NAMESPACE_EXISTS,
        transient=code in _PASSES_BY_ITSELF or error.has_error_label("TransientTransactionError"),
    )


def may_be_partly_done(command: dict[str, Any], code: int | None) -> bool:
    """Whether a command that ended with this error, outside of a transaction, may have written something before.

    Commands that write one document, or change the catalogue, do all or nothing.
    """
    name = next(iter(command))
    if name == "aggregate":
        stages = command.get("pipeline")
        last = stages[-1] if isinstance(stages, list) and stages else None
        if isinstance(last, dict) and "$merge" in last:  # it writes document by document
            return code not in _REFUSED_PIPELINE
        return code in _ENDED_IN_THE_MIDDLE
    if name in ("insert", "update", "delete"):
        return code not in _REFUSED_BATCH
    if name in ("bulkWrite", "mapReduce", "mapreduce", "applyOps"):
        return code not in _REFUSED_PIPELINE
    return False


@contextmanager
def unless_cancelled(cancelled: threading.Event) -> Iterator[None]:
    """Where we have cancelled ourselves, say that instead of what the server makes of it."""
    try:
        yield
    except OperationFailure as error:
        if not cancelled.is_set() or error.code not in _KILLED:
            raise
        reply = {"errmsg": "it was cancelled", "codeName": "Interrupted"}
        raise OperationFailure("it was cancelled", 11601, reply) from None


def commit_error(error: OperationFailure, statement: Statement | None) -> StatementError:
    """Return our error for a transaction that could not be committed; `statement` is all that was in it."""
    reply = error.details or {}
    what = reply.get("errmsg") or str(error)
    return StatementError(what, code=_code(error.code or 0, reply.get("codeName", "")), statement=statement)


_NO_TRANSACTION = (
    'if it may stop in the middle, add to this command: "comment": {"orch": "no-transaction"}; '
    "or make several commands of it, each with some of the documents"
)


def refused_transaction(error: StatementError) -> StatementError:
    """Return the error of a statement of a transaction; TransactionRefusedError where no transaction can hold it."""
    if int(error.code.partition(" ")[0] or 0) not in NOT_IN_A_TRANSACTION:
        return error
    hint = joined("\n", [error.hint, _NO_TRANSACTION])
    return TransactionRefusedError(
        error.what, detail=error.detail, hint=hint, code=error.code, statement=error.statement, offset=error.offset
    )


def details(info: Any) -> str:
    """Return the server's `errInfo`, which tells why a validator refused a document."""
    return json_util.dumps(info)[:2000] if info else ""


def _operation(error: OperationFailure, target: Target) -> OrchError:
    reply = error.details or {}
    what = reply.get("errmsg") or str(error)
    if error.code in STEPPED_DOWN:
        return stepped_down(target, what)
    if error.code in _REFUSED_LOGINS:
        user = user_of(target)
        return ConnectError(
            f"{target.endpoint} refuses the login" + (f" of user '{user}'" if user else ""),
            detail=what,
            hint="check user and password in the environment, and authSource in the DSN"
            if "authmechanism=mongodb-x509" not in target.url.reveal().lower()
            else "a user of the database $external must have the subject of the certificate as its name",
        )
    if error.code == _UNAUTHORIZED:
        return NotPermittedError(what, hint=_grant(target) + ("; only to read: role 'read'" if user_of(target) else ""))
    return StatementError(
        f"{target.database_id}: {what}",
        hint=_HINTS.get(error.code or 0, ""),
        code=_code(error.code or 0, reply.get("codeName", "")),
        transient=error.code in _PASSES_BY_ITSELF or error.has_error_label("TransientTransactionError"),
    )


def _grant(target: Target) -> str:
    """Return what lets this login in: a right, or, where the DSN names nobody, a login at all."""
    user = user_of(target)
    if not user:
        return "give user and password in the DSN, as in: mongodb://${MONGO_USER}:${MONGO_PASSWORD}@host/database"
    return f'as an administrator: db.grantRolesToUser("{user}", [{{role: "dbOwner", db: "{target.database}"}}])'


def user_of(target: Target) -> str:
    """Return who logs in: '' where the DSN names nobody."""
    return unquote(urlsplit(target.url.reveal()).username or "")


def _code(code: int, name: str) -> str:
    return f"{code} {name}".strip()
