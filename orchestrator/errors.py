"""All errors that a user can meet: what happened, where, why, what to do next, and the exit code."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Self

from orchestrator.hints import hint_of
from orchestrator.model import Mark

if TYPE_CHECKING:
    from orchestrator.model import ReadOnly, Statement


class ExitCode(IntEnum):
    """The documented, stable exit codes of `orch`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CHANGES = 3
    INVALID = 4
    CONFLICT = 5
    LOCKED = 6
    UNREACHABLE = 7
    NOT_YET = 8
    INTERRUPTED = 130


def exit_code_of(codes: Iterable[int]) -> int:
    """Return the exit code of a command in which several things failed: their code if all have the same, else FAILED.

    DONE if there are none.
    """
    different = set(codes) - {int(ExitCode.DONE)}
    return different.pop() if len(different) == 1 else int(ExitCode.FAILED if different else ExitCode.DONE)


class OrchError(Exception):
    """What went wrong, in one sentence.

    `where` is the place in a file, `detail` further facts (several lines are fine), `hint` the next thing to do.
    A subclass sets `exit_code`, `kind`, the stable name that machines read, and `remedy`, what the reference says to do.
    """

    remedy = "do what the hint says; `ORCH_DEBUG=1` shows where an error comes from that looks like a fault of orch."
    exit_code = ExitCode.FAILED
    kind = "failed"

    def __init__(self, what: str, *, where: Mark | None = None, detail: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.detail = detail
        self.hint = hint_of(hint)

    def completed(
        self, *, what: str | None = None, where: Mark | None = None, detail: str | None = None, hint: str | None = None
    ) -> Self:
        """Return a copy of the error in which these are set, for who knows more than the place where it arose."""
        made = type(self).__new__(type(self), *self.args)  # which sets `args`; not every class takes them in __init__
        made.__dict__.update(self.__dict__)
        made.what = self.what if what is None else what
        made.where = self.where if where is None else where
        made.detail = self.detail if detail is None else detail
        made.hint = self.hint if hint is None else hint_of(hint)
        return made


class UsageError(OrchError):
    """The command line asks for something that makes no sense."""

    remedy = "correct the command line; `orch help COMMAND` shows its options with examples."
    exit_code = ExitCode.USAGE
    kind = "usage"


class InvalidError(OrchError):
    """The manifest or a migration file is wrong."""

    remedy = "correct the file at the place that the message names, then check all of them: `orch validate`."
    exit_code = ExitCode.INVALID
    kind = "invalid"


class OtherToolError(InvalidError):
    """Files of another migration tool. Those of one tool are one error, with a count and three examples.

    `whose` completes "2 files …", such as "of goose"; `hint` says how to convert them.
    """

    remedy = "convert the files with the command that the hint shows, into a directory of their own."

    def __init__(self, tool: str, whose: str, path: str, hint: str, more: tuple[str, ...] = ()) -> None:
        self.tool, self.whose, self.paths = tool, whose, (path, *more)
        count = len(self.paths)
        names = ", ".join(one.rpartition("/")[2] for one in self.paths[:3]) + (", …" if count > 3 else "")
        what = f"{count:,} migration {'file' if count == 1 else 'files'} {whose}: {names}"
        super().__init__(what, where=Mark(path), hint=hint)

    @staticmethod
    def folded(errors: Iterable[InvalidError]) -> tuple[InvalidError, ...]:
        """Return the errors with those about one tool as one, where the first of them stood."""
        found: dict[object, InvalidError] = {}
        for error in errors:
            if not isinstance(error, OtherToolError):
                found[len(found), error.what] = error
            elif isinstance(known := found.get(error.tool), OtherToolError):
                more = (*known.paths[1:], *error.paths)
                found[error.tool] = OtherToolError(known.tool, known.whose, known.paths[0], known.hint, more)
            else:
                found[error.tool] = error
        return tuple(found.values())


class InvalidGroup(InvalidError):
    """Several findings at once, in the order of the files."""

    remedy = "correct each of them, then check again: `orch validate`."

    def __init__(self, errors: Iterable[InvalidError]) -> None:
        self.errors = tuple(errors)
        super().__init__("1 problem found" if len(self.errors) == 1 else f"{len(self.errors):,} problems found")

    @staticmethod
    def raise_if(errors: Iterable[InvalidError]) -> None:
        """Raise nothing, the one error, or all of them as a group; one that many databases have in common once."""
        single = [each for one in errors for each in (one.errors if isinstance(one, InvalidGroup) else (one,))]
        different = {(type(one), one.what, one.where, one.detail, str(one.hint)): one for one in single}
        found = OtherToolError.folded(different.values())
        if len(found) == 1:
            raise found[0]
        if found:
            raise InvalidGroup(found)


class ConflictError(OrchError):
    """History, version table and files do not agree, and going on could lose something."""

    remedy = "look at both sides: `orch history NAME`, `orch repair NAME`. Nothing was changed."
    exit_code = ExitCode.CONFLICT
    kind = "conflict"


class SchemaTooLargeError(OrchError):
    """The schema of a database is too large to be compared. It was not read."""

    remedy = "leave drift off for this database (`drift: off`), or look at a part of it with `psql` or `mongosh`."


class DriftError(ConflictError):
    """Somebody changed the schema of a database since the last apply."""

    remedy = "see what changed: `orch drift NAME`. Then undo it, write a migration, or `orch drift NAME --accept`."
    kind = "drift"


class StalePlanError(ConflictError):
    """A database or its files changed after the plan was made."""

    remedy = "make the plan again, look at it, and apply that: nothing was run on this database."
    kind = "stale_plan"


class LockError(OrchError):
    """Somebody else holds the migration lock, or the lock cannot be trusted."""

    remedy = (
        "wait until the holder is done. Who it is: `orch unlock NAME`; it also removes the lock of a run that is gone."
    )
    exit_code = ExitCode.LOCKED
    kind = "locked"


class ConnectError(OrchError):
    """A server cannot be reached, or refuses who we are.

    `transient` errors may pass by waiting; `server_down` ones are the same for every database of the server. `code` is the
    SQLSTATE, where the server answered.
    """

    remedy = "start the server, or correct its DSN; `orch doctor` tells what is reached; `--wait SECONDS` waits."
    exit_code = ExitCode.UNREACHABLE
    kind = "unreachable"

    def __init__(
        self,
        what: str,
        *,
        detail: str = "",
        hint: str = "",
        transient: bool = False,
        server_down: bool = False,
        code: str = "",
    ) -> None:
        super().__init__(what, detail=detail, hint=hint)
        self.code = code
        self.transient = transient
        self.server_down = server_down


class WorkerError(OrchError):
    """A worker of a Dask cluster cannot execute the plan. Nothing was run."""

    remedy = "give the worker the release, manifest, files and variables of the client; or leave `--engine dask` out."
    exit_code = ExitCode.INVALID
    kind = "worker"


class NotPermittedError(OrchError):
    """The server knows us, but a right is missing."""

    remedy = "grant what the message names; `orch doctor` lists all that a login lacks, with the statements."
    exit_code = ExitCode.UNREACHABLE
    kind = "not_permitted"


class DatabaseMissingError(OrchError):
    """The server answers, and has no such database. `read_only`: none can be created there."""

    remedy = "`orch apply` creates it; look at the name on the server with `orch status`."
    kind = "database_missing"

    def __init__(self, what: str, *, hint: str = "", read_only: ReadOnly | None = None) -> None:
        super().__init__(what, hint=hint)
        self.read_only = read_only


class CreationRefusedError(DatabaseMissingError):
    """A database is missing, and none may be created: `create: never`, or `--no-create`."""

    remedy = "create the database by hand, or allow it: leave `create: never` or `--no-create` out."
    exit_code = ExitCode.UNREACHABLE


class NotYetError(OrchError):
    """The time is over, and what was waited for has not happened. Waiting again may help."""

    remedy = "wait longer (`--timeout`), or look what is pending: `orch status`."
    exit_code = ExitCode.NOT_YET
    kind = "not_yet"


class ConnectionLostError(OrchError):
    """The connection broke while something ran; what became of it must be asked, never guessed."""

    remedy = "run the command again: it asks the database what became of the statement and continues from there."
    kind = "connection_lost"


class StatementError(OrchError):
    """The server refused a statement.

    `code` is the SQLSTATE or the MongoDB error code, `statement` what was running, and `offset` the place in its source
    (characters from 0) where the server tells one. `transient`: the same may succeed a moment later. `partly`: the
    statement may have had a part of its effect. `contended`: another session changed the same row of a catalogue, such
    as that of a role, which all databases of a server share; so often it is worth trying again at once. `waited`: the
    seconds that it was allowed to wait for a lock, if it got none in that time; 0 for any other error. `exists`: what it
    makes is there.
    """

    remedy = "correct the statement at the place that is shown, then run `orch apply` again."
    kind = "statement"

    def __init__(
        self,
        what: str,
        *,
        detail: str = "",
        hint: str = "",
        code: str = "",
        statement: Statement | None = None,
        offset: int | None = None,
        transient: bool = False,
        partly: bool = False,
        contended: int = 0,
        exists: bool = False,
    ) -> None:
        super().__init__(what, detail=detail, hint=hint)
        self.code = code
        self.exists = exists
        self.transient = transient
        self.partly = partly
        self.contended = contended
        self.waited = 0.0
        self.statement = statement
        self.offset = offset


class CheckError(StatementError):
    """A check that a file makes of its database, before or after it runs, is not met."""

    remedy = "correct the data that the check is about, or the check, then run `orch apply` again."
    kind = "check"


class SessionEndedError(StatementError):
    """The server ended the session because of what a file did, or a person ended it; the server itself goes on."""

    remedy = "look into the log of the server; then run `orch apply` again, which continues where the file stopped."
    kind = "session_ended"


class TransactionRefusedError(StatementError):
    """The server cannot do this in one transaction, and has done nothing of it: it may in smaller pieces, or without one.

    `outside`: it is one statement that runs outside of transactions only, and nothing else is known to be wrong with it.
    """

    remedy = 'split the file, or begin it with `-- orch: no-transaction` (in MongoDB: `"comment": {"orch": "no-transaction"}`).'

    def __init__(self, what: str, *, outside: bool = False, **facts: Any) -> None:
        super().__init__(what, **facts)
        self.outside = outside


class StatementNotPermittedError(StatementError):
    """A statement needs a right that is missing."""

    remedy = "grant what the statement needs, or let another login run it; then run `orch apply` again."
    exit_code = ExitCode.UNREACHABLE
    kind = "not_permitted"


class InterruptedRunError(OrchError):
    """The run was stopped by a signal."""

    remedy = "run the same command again: it continues where this one stopped."
    exit_code = ExitCode.INTERRUPTED
    kind = "interrupted"
