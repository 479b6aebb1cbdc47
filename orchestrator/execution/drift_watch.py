"""Compare the schema of a database with its kept snapshot before its steps run, and keep a new snapshot after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.engines.base import Session
from orchestrator.events import Notice
from orchestrator.execution.run import Run
from orchestrator.planning.plan import Step

if TYPE_CHECKING:
    from orchestrator.execution.drift import Verdict


class DriftWatch:
    """Does so for one database, as its `drift` in the manifest says. Nothing is compared in a scratch database."""

    def __init__(self, run: Run, id: str) -> None:
        self._run = run
        self._id = id
        self._settings = run.databases[id].settings
        self._scratch = run.targets[id].scratch
        self._verdict: Verdict | None = None  # of the first comparison

    def before(self, session: Session, steps: Sequence[Step]) -> None:
        """Refuse what somebody changed since the last apply, where the manifest says so, before anything is written.

        Raises DriftError. If it is unknown what was changed, tell that; not for a database with steps, as the plan tells it.
        """
        if self._settings.drift == "off" or self._scratch or self._verdict is not None:
            return
        from orchestrator.execution.drift import NOTHING_KEPT, before_steps

        self._verdict = before_steps(session, self._id, self._settings)
        if not steps and (unknown := self._verdict.unknown) and unknown != NOTHING_KEPT:
            what = f"drift is unknown: {self._run.redact(unknown)}; from here on, the schema of now is what is compared with"
            self._run.sink(Notice(self._id, what))

    @property
    def keeps(self) -> bool:
        """Whether `after` keeps a schema snapshot."""
        return self._settings.drift != "off" and (not self._scratch or bool(self._run.cloned))

    def after(self, session: Session, version: int | None) -> None:
        """Keep a schema snapshot of the database at this version. Say so if that is not possible."""
        if not self.keeps:
            return
        from orchestrator.execution.drift import keep

        if problem := keep(session, version, self._verdict):
            what = f"no schema snapshot was kept, so drift will be unknown: {self._run.redact(problem)}"
            self._run.sink(Notice(self._id, what))
