"""Tell the views what the server says of a step, or of a wait for the migration lock: only what has changed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from orchestrator.engines.base import Session
from orchestrator.events import MAX_WHAT, Notice, StepProgress, StepWaiting
from orchestrator.execution.run import Run
from orchestrator.model import Activity
from orchestrator.planning.plan import Step
from orchestrator.secret import hidden


class StepActivity:
    """What was told of one step of a database, over all of its tries."""

    def __init__(self, run: Run, id: str, step: Step) -> None:
        self._run = run
        self._id = id
        self._step = step
        self._progress = ("", 0, 0)
        self._waits_for = ""

    def tell(self, activity: Activity) -> None:
        """Take what the server says now."""
        blocking = activity.blocking
        who = blocking.who if blocking else ""
        if who != self._waits_for:
            self._waits_for = who
            detail = hidden(blocking.detail, MAX_WHAT, self._run.redact) if blocking else ""
            since = blocking.since if blocking else None
            self._run.sink(StepWaiting(self._id, self._step.version, self._step.path, who, detail, since))
        progress = activity.what, activity.done, activity.total
        if activity.what and progress != self._progress:
            self._progress = progress
            self._run.sink(StepProgress(self._id, self._step.version, *progress))


def watched_lock(run: Run, id: str, session: Session) -> AbstractContextManager[None]:
    """Watch what the migration lock waits for beside its holder, where the server can tell that."""
    if not session.tells_of_lock:
        return nullcontext()
    told = set[str]()

    def tell(activity: Activity) -> None:
        if (found := activity.blocking) and found.who not in told:
            told.add(found.who)
            run.sink(Notice(id, hidden(f"the lock waits: {found.detail}", MAX_WHAT, run.redact)))

    return run.watching.step(session, tell)
