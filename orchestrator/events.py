"""All events of a run. Every view is made from them alone.

They are named tuples because every start of orch makes all of these classes, and those are made eight times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from orchestrator.errors import ExitCode, InvalidGroup, OrchError
from orchestrator.hints import hint_of, rebuilt
from orchestrator.model import Direction, Mark
from orchestrator.records import NamedTuple, dataclass, replace
from orchestrator.secret import hidden

MAX_WHAT = 4_000
_MAX_DETAIL = 16_000
"""Characters of an error that are told: servers and files can make one of megabytes, and every view holds it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as data, already free of secrets, and of a size that can be shown. Place and commands stay data."""

    kind: str
    exit_code: int
    what: str
    where: Mark | None = None
    detail: str = ""
    hint: str = ""
    code: str = ""

    @staticmethod
    def of(error: BaseException, redact: Callable[[str], str]) -> Failure:
        """Make data of an error; one that is neither ours nor the file system's is a fault of the tool and says so."""
        if isinstance(error, OrchError):
            return Failure(
                kind=error.kind,
                exit_code=int(error.exit_code),
                what=hidden(error.what, MAX_WHAT, redact),
                where=error.where and replace(error.where, path=redact(error.where.path)),
                detail=hidden(error.detail, _MAX_DETAIL, redact),
                hint=error.hint.mapped(lambda text: hidden(text, MAX_WHAT, redact)),
                code=getattr(error, "code", ""),
            )
        if isinstance(error, OSError) and error.strerror:  # a file or directory that is not as it must be
            place = f"{error.filename}: " if error.filename else ""
            return Failure("failed", int(ExitCode.FAILED), hidden(f"{place}{error.strerror}", MAX_WHAT, redact))
        return Failure(
            kind="internal",
            exit_code=int(ExitCode.FAILED),
            what=hidden(f"unexpected {type(error).__name__}: {error}", MAX_WHAT, redact),
            hint="this is a fault in orch; ORCH_DEBUG=1 shows where it happened",
        )

    def without_secrets(self, redact: Callable[[str], str]) -> Failure:
        """Return the failure with all its texts gone through `redact`."""
        place = self.where and replace(self.where, path=redact(self.where.path))
        hint = hint_of(self.hint).mapped(redact)
        return replace(self, what=redact(self.what), where=place, detail=redact(self.detail), hint=hint)

    @staticmethod
    def all_of(error: BaseException, redact: Callable[[str], str]) -> tuple[Failure, ...]:
        """Make data of an error that may hold several."""
        errors = error.errors if isinstance(error, InvalidGroup) else (error,)
        return tuple(Failure.of(one, redact) for one in errors)

    def document(self) -> dict[str, Any]:
        """Return plain data for JSON: `where` and `hint` as texts, and beside them their parts."""
        place = self.where or Mark("")
        return {
            "kind": self.kind,
            "exit_code": self.exit_code,
            "what": self.what,
            "where": str(self.where or ""),
            "path": place.path,
            "line": place.line,
            "column": place.column,
            "detail": self.detail,
            "hint": str(self.hint),
            "commands": [list(command.argv) for command in hint_of(self.hint).commands],
            "code": self.code,
        }

    @staticmethod
    def read(document: Mapping[str, Any]) -> Failure:
        """Return the failure that `document` wrote. One of an earlier release has no parts."""
        path = document.get("path", document["where"])
        return Failure(
            document["kind"],
            document["exit_code"],
            document["what"],
            Mark(path, document.get("line", 0), document.get("column", 0)) if path else None,
            document["detail"],
            rebuilt(document["hint"], document.get("commands", ())),
            document["code"],
        )


class Refused(NamedTuple):
    """The command ended before anything was begun, as for an invalid manifest. Told before the last event."""

    failure: Failure


class RunStarted(NamedTuple):
    """The plan is about to be executed; `databases` have work, in plan order."""

    run_id: str
    databases: tuple[str, ...]
    steps: int


class ServerWaiting(NamedTuple):
    """A server is not ready yet and is tried again."""

    database: str
    reason: str


class DatabaseStarted(NamedTuple):
    """All that this database depends on is done; its work begins."""

    database: str
    steps: int


class DatabaseCreated(NamedTuple):
    """The database was missing and is there now. `by_other`: somebody else was quicker."""

    database: str
    by_other: bool = False


class LockWaiting(NamedTuple):
    """Somebody else holds the migration lock."""

    database: str
    holder: str


class Adopted(NamedTuple):
    """Versions that golang-migrate applied or took back were written into our history."""

    database: str
    versions: tuple[int, ...]
    direction: Direction


class StepStarted(NamedTuple):
    """A migration file begins, at statement `first` of `total` (both from 0)."""

    database: str
    version: int
    name: str
    direction: Direction
    first: int
    total: int


class StatementStarted(NamedTuple):
    """One statement of a file that cannot run in one transaction begins: `first` of `total`, from 0; `text` is its beginning."""

    database: str
    version: int
    first: int
    total: int
    text: str


class StatementDone(NamedTuple):
    """One statement of a file that cannot run in one transaction is done and recorded."""

    database: str
    version: int
    applied: int
    total: int


class StepProgress(NamedTuple):
    """How far the server is with a step that takes long, in its own words; `done` of `total`, which is 0 if it is not known."""

    database: str
    version: int
    what: str
    done: int
    total: int


class StepWaiting(NamedTuple):
    """A step waits for the sessions in `who`; '' if it waits no longer. `since`: their oldest transaction began then."""

    database: str
    version: int
    file: str
    who: str
    detail: str
    since: datetime | None


class StepRetrying(NamedTuple):
    """A step is tried again after something that passes by itself."""

    database: str
    version: int
    reason: str
    seconds: float


class StepFinished(NamedTuple):
    """A migration is done and recorded. `seconds` is its duration."""

    database: str
    version: int
    name: str
    direction: Direction
    seconds: float


class Notice(NamedTuple):
    """Something a person should know, that is no failure. `database` is '' where it is about the whole run."""

    database: str
    text: str


class ServerMessage(NamedTuple):
    """What the server said while a migration file ran: `severity` is PostgreSQL's word, such as NOTICE or WARNING."""

    database: str
    version: int
    file: str
    severity: str
    message: str


class DatabaseFinished(NamedTuple):
    """All steps of this database are done; `version` is where it stands, `applied` how many steps this run made."""

    database: str
    version: int | None
    applied: int
    seconds: float


class DatabaseFailed(NamedTuple):
    """A root cause."""

    database: str
    failure: Failure


class Verified(NamedTuple):
    """A migration was tried in a scratch database: up, down, up. `failure`: what came of it; `left_out`: why it was not."""

    database: str
    version: int
    name: str
    seconds: float
    failure: Failure | None = None
    left_out: str = ""


class DatabaseBlocked(NamedTuple):
    """Not begun, because of the databases in `by`, which failed or were blocked themselves."""

    database: str
    by: tuple[str, ...]


class DatabaseSkipped(NamedTuple):
    """Not begun, because the run was stopped; or `why`, if a rollout has ended or is paused."""

    database: str
    why: str = ""


class Stopping(NamedTuple):
    """A signal came. `now`: running statements are being cancelled, not waited for."""

    now: bool


class RunFinished(NamedTuple):
    """The end: always the last event. `seconds` since the run began."""

    run_id: str
    seconds: float
    exit_code: int
    succeeded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


Event = (
    Refused
    | RunStarted
    | ServerWaiting
    | DatabaseStarted
    | DatabaseCreated
    | LockWaiting
    | Adopted
    | StepStarted
    | StatementStarted
    | StatementDone
    | StepProgress
    | StepWaiting
    | StepRetrying
    | StepFinished
    | Notice
    | ServerMessage
    | DatabaseFinished
    | DatabaseFailed
    | Verified
    | DatabaseBlocked
    | DatabaseSkipped
    | Stopping
    | RunFinished
)

Sink = Callable[[Event], None]
"""Where events go; called from several threads, so a sink must be safe to call so."""
