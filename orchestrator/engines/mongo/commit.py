"""The transaction of a file: commands that run in it, and its end."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError, WriteConcernError

from orchestrator.engines.base import Limits
from orchestrator.engines.mongo import errors
from orchestrator.engines.mongo.commands import Commands
from orchestrator.errors import ConnectionLostError, StatementError
from orchestrator.hints import Command, Hint
from orchestrator.model import Statement

_COMMIT_RETRIES = 3


def run_in_transaction(commands: Commands, statement: Statement, limits: Limits) -> None:
    """Run one command in the transaction that is open. The error says if it is the transaction that cannot hold it."""
    try:
        commands.run(statement, limits)
    except StatementError as error:
        raise errors.refused_transaction(error) from None


def commit_transaction(session: ClientSession, statements: Sequence[Statement], id: str) -> None:
    """Commit the transaction of a session, again where nobody knows whether it was committed.

    `statements` are what a file does in it, `id` is the database. Raises StatementError if no transaction can hold them,
    and ConnectionLostError if the server does not say what became of it.
    """
    for attempt in range(_COMMIT_RETRIES + 1):
        try:
            session.commit_transaction()
        except PyMongoError as error:
            # A write concern that failed says nothing against the commit itself.
            unknown = error.has_error_label("UnknownTransactionCommitResult") or isinstance(error, WriteConcernError)
            if not unknown:
                only = statements[0] if len(statements) == 1 else None
                if isinstance(error, OperationFailure) and error.code in errors.NOT_IN_A_TRANSACTION and statements:
                    raise errors.refused_transaction(errors.commit_error(error, only)) from None
                raise
            if attempt == _COMMIT_RETRIES:  # it may be there: only the database can tell
                raise ConnectionLostError(
                    f"{id} does not say whether a transaction was committed",
                    detail=str(error),
                    hint=Hint("run again: ", Command("apply")),
                ) from None
        else:
            return
